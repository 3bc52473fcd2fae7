"""`fit` and loops under `tf.distribute`, where one replica's batch is bad.

Also what Keras 3.15 itself does in `fit` there: an optimizer cannot see it.
When one of those tests fails, Keras has changed, and the README with it.
"""

import contextlib
import functools
import json
import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd_tests.kfac import training
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import replicas
from tfwd_tests.optimizers import table
from tfwd_tests.optimizers import transforms

BAD_STEP = 3
ROW = table.Row("AdamS", "adam")


def copies(variable):
    """Returns the value of a variable on each replica."""
    local = replicas.strategy().experimental_local_results(variable.value)
    return [copy.numpy() for copy in local]


def spoil_second_replica(both, value=np.nan, step=BAD_STEP):
    """Makes one number of the second replica's gradients not finite."""
    both[step][1][1].flat[2] = value
    return both


def recording(make):
    """Returns a maker that keeps what it made, in `made`."""

    def maker():
        maker.made = make()
        return maker.made

    return maker


def assert_equal(actual, expected):
    for one, other in zip(*actual, strict=True):
        np.testing.assert_array_equal(one, other)
    assert harness.relative_error(actual[0], expected) <= 1e-6


@pytest.fixture(params=[True, False], ids=["merge_call", "no_merge_call"])
def merge_call(request, monkeypatch):
    """Without merge_call as on TPUs and on several GPUs under XLA."""
    if not request.param:
        monkeypatch.setattr(
            replicas.strategy().extended, "_use_merge_call", lambda: False
        )


CLIPS = [("loss_scale_factor", 1.0, lambda step, _: step), *transforms.CLIPS]


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip[0])
def test_bad_gradient_of_one_replica_skips_the_step_on_both(clip, merge_call):
    name, bound, function = clip
    theta, gradients = harness.random_problem(7)
    make = recording(functools.partial(ROW.make, "stable", **{name: bound}))
    both = spoil_second_replica(replicas.split(gradients), np.inf)
    actual = replicas.apply_all(make, theta, both)
    clipped = [function(step, bound) for step in gradients]
    clipped[BAD_STEP] = [None] * len(theta)
    assert_equal(actual, ROW.expected("stable", theta, clipped))
    assert copies(make.made.skipped_steps) == [1, 1]


def test_bad_batch_of_one_replica_spoils_one_accumulated_step(merge_call):
    theta, gradients = harness.random_problem(9)
    make = recording(
        functools.partial(ROW.make, "stable", gradient_accumulation_steps=3)
    )
    both = spoil_second_replica(replicas.split(gradients))
    actual = replicas.apply_all(make, theta, both)
    means = transforms.means_of_three(gradients)
    means[1] = [None] * len(theta)
    assert_equal(actual, ROW.expected("stable", theta, means))
    assert copies(make.made.skipped_steps) == [1, 1]


def test_averages_leave_out_a_step_that_one_replica_spoils(merge_call):
    """One device skips the step as well, which has a test of its own."""
    make = recording(
        functools.partial(
            ROW.make,
            "stable",
            use_ema=True,
            ema_momentum=0.5,
            ema_overwrite_frequency=2,
        )
    )
    theta, gradients = harness.random_problem(6)
    both = spoil_second_replica(replicas.split(gradients))
    actual = replicas.apply_all(make, theta, both)
    assert copies(make.made.skipped_steps) == [1, 1]
    gradients[BAD_STEP][1].flat[2] = np.nan
    single = harness.apply_all(make(), harness.make_variables(theta), gradients)
    assert_equal(actual, single)


def test_bad_row_of_an_embedding_on_one_replica_skips_the_step():
    generator = np.random.default_rng(0)
    theta = [generator.normal(size=(6, 3)), generator.normal(size=(4,))]
    ids = np.array([[0, 2, 2], [2, 5, 0]])
    steps, dense = [], []
    for step in range(5):
        rows = generator.normal(size=(2, 3, 3))
        other = generator.normal(size=(2, 4))
        summed = np.zeros((6, 3))
        np.add.at(summed, ids.reshape(-1), rows.reshape(-1, 3))
        dense.append([summed, other.sum(0)])
        if step == BAD_STEP:
            rows[1, 2, 0] = np.nan
            dense[-1] = [None, None]
        steps.append(tuple([(ids[r], rows[r]), other[r]] for r in range(2)))
    make = recording(functools.partial(ROW.make, "stable"))
    actual = replicas.apply_all(make, theta, steps, as_slices=(0,))
    assert_equal(actual, ROW.expected("stable", theta, dense))
    assert copies(make.made.skipped_steps) == [1, 1]


def linear(optimizer, scope, **settings):
    """Returns a model whose kernel has the mean of a batch as its gradient."""
    with scope:
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(1, use_bias=False)]
        )
        model.layers[0].kernel.assign([[1.0], [-2.0]])
        model.compile(
            optimizer(),
            loss=lambda _, output: keras.ops.mean(output, -1),
            **settings,
        )
    return model


def plain_sgd():
    return tfwd.SGD(0.5, momentum=0.0)


def mirrored(optimizer=plain_sgd, **settings):
    return linear(optimizer, replicas.strategy().scope(), **settings)


def examples(rows):
    """Returns inputs [rows, 2] and targets that are not looked at."""
    x = np.random.default_rng(0).normal(size=(rows, 2)).astype("float32")
    return x, np.zeros(rows, "float32")


def fit(model, x, y, batch_size):
    model.fit(x, y, batch_size=batch_size, shuffle=False, verbose=0)
    return model.get_weights()[0][:, 0]


def test_fit_skips_the_batch_that_is_bad_on_one_replica():
    x, y = examples(12)
    x[7] = np.nan  # The second batch is of rows 4 to 7, two per replica.
    model = mirrored()
    actual = fit(model, x, y, 4)
    good = x[:4].mean(0) + x[8:].mean(0)
    expected = np.array([1.0, -2.0]) - 0.5 * good
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert copies(model.optimizer.skipped_steps) == [1, 1]


@pytest.mark.parametrize(
    ("row", "skipped", "scale"), [(7, 1, 1024.0), (4, 0, 512.0)]
)
def test_keras_315_lowers_the_loss_scale_for_the_first_replica_alone(
    row, skipped, scale
):
    """Rows 4 and 5 are the first replica's: there Keras skips, and halves."""
    x, y = examples(12)
    x[row] = np.inf
    model = mirrored(
        lambda: keras.optimizers.LossScaleOptimizer(plain_sgd(), 1024.0)
    )
    actual = fit(model, x, y, 4)
    good = x[:4].mean(0) + x[8:].mean(0)
    expected = np.array([1.0, -2.0]) - 0.5 * good
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    inner = model.optimizer.inner_optimizer
    assert copies(inner.skipped_steps) == [skipped] * 2
    assert copies(model.optimizer.dynamic_scale) == [scale] * 2


def test_fit_with_kfac_skips_the_batch_that_is_bad_on_one_replica():
    x, y = training.examples(4 * training.BATCH)
    with replicas.strategy().scope():
        model = training.compiled(factor_every=2)
    training.fit(model, (x[: 2 * training.BATCH], y[: 2 * training.BATCH]))
    weights = model.get_weights()
    bad = x[2 * training.BATCH :].copy()
    bad[training.BATCH - 1] = np.nan
    labels = y[2 * training.BATCH :]
    with pytest.warns(UserWarning, match="dropped_statistics"):
        training.step(model, bad[: training.BATCH], labels[: training.BATCH])
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert copies(model.optimizer.skipped_steps) == [1, 1]
    assert model.optimizer.events()["skipped_steps"] == 1
    training.step(model, bad[training.BATCH :], labels[training.BATCH :])
    assert np.all(np.isfinite(model.get_weights()[0]))
    assert training.error(model, weights) > 0


def test_keras_315_fits_an_uneven_last_batch_to_the_mean_of_replica_means():
    """Of 95 examples the last batch has 31: 16 and 15."""
    x, y = examples(95)
    actual = fit(mirrored(), x, y, 32)
    means = x[:32].mean(0) + x[32:64].mean(0)
    means += (x[64:80].mean(0) + x[80:].mean(0)) / 2
    expected = np.array([1.0, -2.0]) - 0.5 * means
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    single = fit(linear(plain_sgd, contextlib.nullcontext()), x, y, 32)
    assert np.abs(actual - single).max() > 1e-4


REFUSED = {
    "several_steps_per_execution": ({"steps_per_execution": 2}, 4),
    "jit_compile": ({"jit_compile": True}, 4),
    "uneven_first_batch": ({}, 5),
}


@pytest.mark.parametrize("name", REFUSED)
def test_keras_315_cannot_fit_on_two_replicas_with(name):
    settings, batch_size = REFUSED[name]
    model = mirrored(**settings)
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(model, *examples(20), batch_size)


WORKER = """
import sys
import keras
import numpy as np
import tensorflow as tf
import tfwd

strategy = tf.distribute.MultiWorkerMirroredStrategy()
worker = strategy.cluster_resolver.task_id
x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")


def model_with(optimizer):
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, use_bias=False)]
    )
    model.layers[0].kernel.assign([[1.0], [-2.0]])
    model.compile(optimizer, "mse")
    return model


def error_of(function):
    try:
        function()
    except ValueError as error:
        return str(error).replace(chr(10), " ")
    return "none"


with strategy.scope():
    model = model_with(tfwd.SGD(0.5, momentum=0.0))
    other = model_with(tfwd.KFAC())
    tfwd.kfac.attach(other)
    model.optimizer.build(model.trainable_variables)


@tf.function
def step(slope):
    def replica_step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(slope * model.layers[0].kernel)
        variables = model.trainable_variables
        model.optimizer.apply(tape.gradient(loss, variables), variables)

    strategy.run(replica_step)


step(tf.constant([[0.25], [0.5]]))
step(tf.constant([[np.nan if worker else 1.0], [1.0]]))
step(tf.constant([[0.25], [0.5]]))
print("weights", *model.get_weights()[0][:, 0])
print("skipped", model.optimizer.skipped_steps.numpy())
print("kfac", error_of(lambda: other.fit(x, y, verbose=0)))
print("keras", error_of(lambda: model.fit(x, y, verbose=0)))
"""


def test_two_workers_skip_together_and_fit_fails_in_keras_315_and_in_kfac():
    """`fit` fails before it reads anything of an optimizer, so that one that
    is not attached to the model cannot say it more clearly."""
    outputs = on_two_workers(WORKER)
    for lines in outputs:
        # Two workers' gradients, twice: 1 − 0.5·4·0.25 and −2 − 0.5·4·0.5.
        assert lines["weights"] == "0.5 -3.0"
        assert lines["skipped"] == "1"
        assert lines["kfac"] == (
            "`fit` of Keras 3.15 cannot run under "
            "MultiWorkerMirroredStrategy; use a loop of your own or "
            "`python -m tfwd.train --strategy=multi_worker`. "
            "Received: 2 workers"
        )
        assert "unsupported type" in lines["keras"]
        assert "PerReplica" in lines["keras"]


def on_two_workers(program):
    """Returns for each worker what it printed, {first word: the rest}."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    root = pathlib.Path(tfwd.__file__).parents[1]
    workers = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": addresses}, "task": task}
        environment = os.environ | {
            "TF_CONFIG": json.dumps(config),
            "PYTHONPATH": str(root),
        }
        workers.append(
            subprocess.Popen(
                [sys.executable, "-c", program],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        outputs = [worker.communicate(timeout=120) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for worker, (_, errors) in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, errors[-3000:]
    return [
        dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        for text, _ in outputs
    ]
