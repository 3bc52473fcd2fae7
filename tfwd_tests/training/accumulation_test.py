"""Several steps make the update of their batches put together."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd import train
from tfwd.training.checkpoint import checkpoint
from tfwd.training.loop import accumulation
from tfwd.training.loop import kfac_work
from tfwd.training.loop import loop as loop_lib
from tfwd.training.loop import step as step_lib
from tfwd.training.runs import logs
from tfwd_tests.training import crashes
from tfwd_tests.training import looping

IMAGES, LABELS, STEPS = looping.IMAGES, looping.LABELS, looping.STEPS
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_windows_end_with_the_epoch():
    windows = accumulation.Windows(steps_per_epoch=5, length=2)
    places = [windows.at(step) for step in range(10)]
    assert [(each.update, each.part, each.size) for each in places] == [
        *[(0, 0, 2), (0, 1, 2), (1, 0, 2), (1, 1, 2), (2, 0, 1)],
        *[(3, 0, 2), (3, 1, 2), (4, 0, 2), (4, 1, 2), (5, 0, 1)],
    ]
    closing = [step for step in range(10) if places[step].is_last]
    assert closing == [1, 3, 4, 6, 8, 9]
    assert [windows.at(step).update for step in (0, 1, 2, 4, 5, 6, 7, 10)] == (
        [0, 0, 1, 2, 3, 3, 4, 6]
    )


def test_epoch_has_the_updates_of_the_larger_batch():
    # 50,000 examples are 391 batches of 128, and 49 of 1,024.
    assert accumulation.Windows(391, 8).per_epoch == 49
    assert accumulation.Windows(391).per_epoch == 391


def build(optimizer, strategy=None, length=None, **arguments):
    """A loop over a fixed network of two layers; `length` is of windows."""
    strategy = strategy or tf.distribute.get_strategy()
    keras.utils.set_random_seed(3)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((looping.FEATURES,)),
                keras.layers.Dense(5, activation="tanh"),
                keras.layers.Dense(looping.CLASSES),
            ]
        )
        made = optimizer(**arguments)
        if isinstance(made, tfwd.KFAC):
            made.attach(model, loss=LOSS)
        made.build(model.trainable_variables)
        accumulated = windows = None
        if length:
            windows = accumulation.Windows(STEPS, length)
            accumulated = accumulation.Accumulated(model.trainable_variables)
    step = step_lib.Step(
        model,
        made,
        curvature=kfac_work.of(strategy, made, windows=windows),
        accumulated=accumulated,
    )
    return loop_lib.Loop(strategy, step, windows=windows)


def weights_of(loop):
    return np.concatenate(
        [np.ravel(each) for each in loop.replica_step.model.get_weights()]
    )


def concatenated(loop, rows):
    """One update by the mean loss of some examples, in plain Keras."""
    model, optimizer = loop.replica_step.model, loop.replica_step.optimizer
    with tf.GradientTape() as tape:
        loss = LOSS(LABELS[rows], model(IMAGES[rows], training=True))
        loss = optimizer.scale_loss(loss)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)


@pytest.mark.parametrize(
    ("length", "batches"),
    [
        # Batches of 4, 4 and 3 examples.
        (2, [slice(0, 8), slice(8, 11)]),
        (3, [slice(0, 11)]),
        (7, [slice(0, 11)]),
    ],
)
@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize(
    ("optimizer", "arguments"),
    [
        (tfwd.SGD, {"learning_rate": 0.5, "weight_decay": 0.01}),
        (tfwd.AdamS, {"learning_rate": 0.05, "weight_decay": 0.01}),
        (
            tfwd.SGDS,
            {"weight_decay": 0.01, "clipnorm": 0.1, "loss_scale_factor": 64.0},
        ),
    ],
    ids=["sgd", "adams", "sgds"],
)
def test_updates_are_those_of_the_concatenated_batches(
    length, batches, replicas, optimizer, arguments
):
    loop = build(optimizer, looping.mirrored(replicas), length, **arguments)
    whole = build(optimizer, **arguments)
    looping.trained(loop, epochs=2)
    for rows in batches * 2:
        concatenated(whole, rows)
    np.testing.assert_allclose(weights_of(loop), weights_of(whole), atol=1e-6)
    iterations = loop.replica_step.optimizer.iterations
    assert keras.ops.convert_to_numpy(iterations) == 2 * len(batches)
    for variable in loop.replica_step.accumulated.variables:
        assert not np.any(keras.ops.convert_to_numpy(variable))


@pytest.mark.parametrize("limit", [1, 2])
def test_calls_may_end_anywhere_in_a_window(limit):
    arguments = {"learning_rate": 0.5, "momentum": 0.5}
    loops = [build(tfwd.SGD, None, 2, **arguments) for _ in range(2)]
    for loop, most in zip(loops, (limit, STEPS), strict=True):
        looping.trained(loop, epochs=2, limit=most)
    np.testing.assert_array_equal(*map(weights_of, loops))


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_call_ends_with_the_update_that_is_no_number(bad):
    images = IMAGES.copy()
    images[bad * looping.BATCH - 2] = np.nan
    loop = build(tfwd.SGD, None, 2)
    iterator = iter(looping.distributed(loop.strategy, images=images))
    taken, is_finite = 0, True
    while is_finite:
        done = loop.advance(iterator, taken, STEPS - taken)
        taken, is_finite = taken + done.steps, done.is_finite
    assert taken == bad
    whole = build(tfwd.SGD)
    if bad == 3:
        concatenated(whole, slice(0, 8))
    np.testing.assert_allclose(weights_of(loop), weights_of(whole), atol=1e-6)


def test_curvature_is_that_of_the_concatenated_batch_where_it_has_no_memory():
    # The empirical Fisher matrix is the mean of its examples' squares; with a
    # decay rate of 0 nothing before the update is part of it.
    arguments = dict(
        learning_rate=0.05,
        weight_decay=0.01,
        damping=0.1,
        factor_decay=0.0,
        factor_every=1,
        inverse_every=1,
        curvature="empirical",
    )
    loop = build(tfwd.KFAC, None, 2, **arguments)
    iterator = iter(looping.distributed(loop.strategy))
    for step in range(2):
        assert loop.advance(iterator, step, 2 - step).steps == 1
    whole = build(tfwd.KFAC, **arguments)
    optimizer, rows = whole.replica_step.optimizer, slice(0, 8)
    optimizer.update_factors(IMAGES[rows], LABELS[rows])
    optimizer.update_inverses(optimizer.schedule.before(0).inverses)
    concatenated(whole, rows)
    np.testing.assert_allclose(weights_of(loop), weights_of(whole), atol=1e-5)


# 287 examples: batches of 32, of which four are one of 128; 31 in the last.
RUN = [
    *("--hidden_units=8", "--train_fraction=0.2", "--epochs=2"),
    *("--nobatch_norm", "--schedule=cosine", "--warmup_epochs=1"),
    *("--optimizer=sgds", "--learning_rate=0.2", "--steps_per_loop=3"),
    *("--scaling_rule=lr", "--base_batch_size=64"),
]
PARTS = [
    *RUN,
    # Calls of three steps, whatever ends one.
    *("--batch_size=32", "--accumulation_steps=4", "--checkpoint_every=3"),
]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The folder of a run with four steps to an update."""
    folder = tmp_path_factory.mktemp("runs") / "parts"
    assert train.main([*PARTS, f"--output_dir={folder}"]) == 0
    return folder


def test_run_is_that_of_the_larger_batch(parts, tmp_path):
    folder = tmp_path / "whole"
    arguments = [*RUN, "--batch_size=128", f"--output_dir={folder}"]
    assert train.main(arguments) == 0
    rows = [logs.read(each / "metrics.csv") for each in (parts, folder)]
    # Nine steps in an epoch make three updates.
    assert [row["step"] for row in rows[0]] == [9, 18]
    assert [row["step"] for row in rows[1]] == [3, 6]
    for one, other in zip(*rows, strict=True):
        for name in ("learning_rate", "weight_norm", "train_loss", "test_loss"):
            assert one[name] == pytest.approx(other[name], rel=1e-5), name
    model = keras.saving.load_model(parts / "final.keras")
    assert int(model.optimizer.iterations) == 6


def test_run_tells_what_is_not_as_in_the_larger_batch(parts):
    described = json.loads((parts / "run.json").read_text())["accumulation"]
    assert described["steps_per_update"] == 4
    assert described["examples_per_update"] == 128
    assert described["updates_per_epoch"] == 3
    text = " ".join(described["differs_from_such_a_batch"])
    assert "batch normalization" in text and "K-FAC" in text
    assert accumulation.description(accumulation.Windows(9), 32) is None


def test_run_that_crashed_within_a_window_goes_on_bit_for_bit(
    parts, tmp_path, monkeypatch
):
    command = [*PARTS, f"--output_dir={tmp_path / 'a'}"]
    with monkeypatch.context() as patched:
        # That of step 3, behind that of step 0: three of four parts are made.
        crashing = crashes.crashing_after(checkpoint.Checkpoints.save, 2)
        patched.setattr(checkpoint.Checkpoints, "save", crashing)
        with pytest.raises(crashes.Crash):
            train.main(command)
    assert train.main(command) == 0
    crashes.assert_same(tmp_path / "a", parts)
