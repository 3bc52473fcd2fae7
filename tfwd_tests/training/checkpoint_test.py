"""A run that was killed anywhere goes on as if it had not been.

Covers `due`.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd.training.checkpoint import checkpoint
from tfwd.training.checkpoint import due
from tfwd.training.checkpoint import progress as progress_lib
from tfwd.training.checkpoint import stored as stored_lib
from tfwd.training.setup import optimization as optimizer_lib
from tfwd_tests.kfac import training
from tfwd_tests.optimizers import replicas

BATCH = 8
X, Y = training.examples(6 * BATCH)
BATCHES = list(zip(np.split(X, 6), np.split(Y, 6), strict=True))


def built(cls, hidden=8, **arguments):
    """A model with dropout and moving averages, and its built optimizer."""
    model = keras.Sequential(
        [
            keras.Input((training.INPUTS,)),
            keras.layers.Dense(hidden, "tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(training.CLASSES),
        ]
    )
    optimizer = cls(learning_rate=0.05, weight_decay=0.01, **arguments)
    if isinstance(optimizer, tfwd.KFAC):
        optimizer.attach(model)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, training.cross_entropy())
    return model


def advance(model, batches):
    if isinstance(model.optimizer, tfwd.KFAC):
        training.by_hand(model, batches)
        return
    for x, y in batches:
        gradients = training.gradients(model, x, y)
        model.optimizer.apply(gradients, model.trainable_variables)


def of(folder, model, keep=2, **arguments):
    return checkpoint.Checkpoints(
        folder,
        keep,
        {"model": model.variables, "optimizer": model.optimizer.variables},
        kinds={"optimizer": type(model.optimizer).__name__},
        **arguments,
    )


def arrays(model):
    return [
        keras.ops.convert_to_numpy(variable)
        for variable in [*model.variables, *model.optimizer.variables]
    ]


def assert_equal(some, others):
    for one, other in zip(some, others, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", optimizer_lib.OPTIMIZERS)
def test_interrupted_equals_uninterrupted_in_every_bit(name, tmp_path):
    intervals = {"factor_every": 2, "inverse_every": 2}
    arguments = intervals if name == "kfac" else {}
    cls = optimizer_lib.OPTIMIZERS[name]
    model = built(cls, **arguments)
    advance(model, BATCHES[:3])
    at_save = arrays(model)
    of(tmp_path, model).save(3, progress_lib.Progress(step=3, loss=0.1))
    advance(model, BATCHES[3:])

    again = built(cls, **arguments)
    stored = stored_lib.read_newest(tmp_path)
    assert stored.progress == progress_lib.Progress(step=3, loss=0.1)
    of(tmp_path, again).restore(stored)
    assert_equal(arrays(again), at_save)
    advance(again, BATCHES[3:])
    assert_equal(arrays(again), arrays(model))


@pytest.mark.parametrize(
    "arguments",
    [
        {"gradient_accumulation_steps": 2},
        {"use_ema": True},
        {"loss_scale_factor": 8.0},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_what_keras_adds_to_an_optimizer_is_kept(arguments, tmp_path):
    model = built(tfwd.AdamS, **arguments)
    advance(model, BATCHES[:3])
    of(tmp_path, model).save(3, progress_lib.Progress())
    again = built(tfwd.AdamS, **arguments)
    of(tmp_path, again).restore(stored_lib.read_newest(tmp_path))
    for each in (model, again):
        advance(each, BATCHES[3:])
    assert_equal(arrays(again), arrays(model))


def test_kfac_goes_on_from_a_checkpoint_of_before_its_damping_was_one(tmp_path):
    model = built(tfwd.KFAC, damping=0.2)
    advance(model, BATCHES[:3])
    variables = [v for v in model.optimizer.variables if v.name != "damping"]
    assert len(variables) == len(model.optimizer.variables) - 1
    checkpoint.Checkpoints(
        tmp_path,
        1,
        {"model": model.variables, "optimizer": variables},
        kinds={"optimizer": "KFAC"},
    ).save(3, progress_lib.Progress(step=3))
    again = built(tfwd.KFAC, damping=0.2)
    of(tmp_path, again).restore(stored_lib.read_newest(tmp_path))
    assert_equal(arrays(again), arrays(model))
    for each in (model, again):
        advance(each, BATCHES[3:])
    assert_equal(arrays(again), arrays(model))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("bfloat16", [1.5, -3.0]),
        ("float16", [0.1, 6e4]),
        ("float64", [1 / 3, np.inf]),
        ("uint32", [2**32 - 1, 7]),
        ("int8", [-128, 127]),
        ("int64", 2**62 + 1),
        ("bool", [True, False]),
    ],
)
def test_every_dtype_comes_back_as_it_was(dtype, value, tmp_path):
    def variables(value):
        return {"model": [keras.Variable(value, dtype=dtype, trainable=False)]}

    one, other = variables(value), variables(np.zeros_like(value))
    extra = {"a/b": tf.constant(value, dtype)}
    checkpoint.Checkpoints(tmp_path, 1, one).save(
        1, progress_lib.Progress(), extra
    )
    stored = stored_lib.read_newest(tmp_path)
    checkpoint.Checkpoints(tmp_path, 1, other).restore(stored)
    expected = tf.constant(value, dtype).numpy()
    for found in (other["model"][0].numpy(), stored.extra["a/b"]):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def filled(model, seed):
    generator = np.random.default_rng(seed)
    for variable in [*model.variables, *model.optimizer.variables]:
        value = generator.uniform(0, 100, variable.shape)
        variable.assign(tf.cast(value, variable.dtype))
    return model


def mirrored(seed):
    with replicas.strategy().scope():
        return filled(built(tfwd.AdamS), seed)


def test_mirrored_checkpoint_is_one_of_a_single_device(tmp_path):
    model, single = mirrored(1), filled(built(tfwd.AdamS), 2)
    of(tmp_path, model).save(1, progress_lib.Progress())
    of(tmp_path, single).restore(stored_lib.read_newest(tmp_path))
    assert_equal(arrays(single), arrays(model))


def test_checkpoint_of_a_single_device_reaches_every_replica(tmp_path):
    model, single = mirrored(1), filled(built(tfwd.AdamS), 2)
    of(tmp_path, single).save(1, progress_lib.Progress())
    of(tmp_path, model).restore(stored_lib.read_newest(tmp_path))
    variables = [*model.variables, *model.optimizer.variables]
    for replica in range(2):
        local = [
            replicas.strategy()
            .experimental_local_results(variable.value)[replica]
            .numpy()
            for variable in variables
        ]
        assert_equal(local, arrays(single))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            lambda: built(tfwd.AdamW),
            "where optimizer is AdamS there and AdamW here",
        ),
        (
            lambda: built(tfwd.AdamS, hidden=9),
            r"where model has .*/kernel float32\[6, 8\] there and .*/kernel "
            r"float32\[6, 9\] here; .*; .*; \.\.\.$",
        ),
        (
            lambda: built(tfwd.AdamS, use_ema=True),
            r"where optimizer has \d+ variables there and \d+ here; ",
        ),
        (
            lambda: built(tfwd.KFAC),
            "where optimizer is AdamS there and KFAC here; optimizer has ",
        ),
    ],
    ids=["optimizer class", "width", "moving average", "kfac"],
)
def test_checkpoint_of_something_else_is_refused_untouched(
    other, message, tmp_path
):
    of(tmp_path, built(tfwd.AdamS)).save(1, progress_lib.Progress())
    model = other()
    before = arrays(model)
    with pytest.raises(ValueError, match=message) as error:
        of(tmp_path, model).restore(stored_lib.read_newest(tmp_path))
    assert str(error.value).startswith(
        "A checkpoint must be of the same model and optimizer. "
        f"Received: {tmp_path}/ckpt-1"
    )
    assert_equal(arrays(model), before)


def test_variables_of_another_name_or_dtype_are_refused(tmp_path):
    def group(name, dtype):
        variable = keras.Variable(np.zeros(2), dtype=dtype, name=name)
        return checkpoint.Checkpoints(tmp_path, 1, {"model": [variable]})

    group("kernel", "float32").save(1, progress_lib.Progress())
    stored = stored_lib.read_newest(tmp_path)
    group("kernel_7", "float32").restore(stored)
    for name, dtype in (("bias", "float32"), ("kernel", "bfloat16")):
        with pytest.raises(ValueError, match=rf"and {name} {dtype}\[2\] here"):
            group(name, dtype).restore(stored)


def test_variable_that_occurs_twice_is_refused(tmp_path):
    variable = keras.Variable(0.0, name="mine")
    with pytest.raises(ValueError, match="Received: mine twice"):
        checkpoint.Checkpoints(
            tmp_path, 1, {"model": [variable], "optimizer": [variable]}
        )


def test_every_number_of_steps_is_due_at_its_multiples():
    every = due.Every("10", step=23, now=0.0)
    assert every.limit(23) == 7
    assert [step for step in range(23, 45) if every.due(step, 1e9)][0] == 30
    every.saved(30, 0.0)
    assert not every.due(39, 1e9)
    # A step may also be jumped over.
    assert every.due(41, 1e9)
    assert (every.limit(40), every.limit(49)) == (10, 1)


def test_every_number_of_seconds_counts_from_the_last_one():
    every = due.Every("600s", step=3, now=100.0)
    assert not every.due(10**6, 699.9)
    assert every.due(4, 700.0)
    every.saved(4, 700.0)
    assert not every.due(5, 1299.9)
    assert every.limit(5) is None


@pytest.mark.parametrize("text", ["", "0", "0s", "-5", "1.5s", "5m", "s", "5 "])
def test_what_is_neither_steps_nor_seconds_is_refused(text):
    with pytest.raises(ValueError) as error:
        due.Every(text)
    assert str(error.value) == (
        "`--checkpoint_every` must be a number of steps (500) or of seconds "
        f"(600s). Received: --checkpoint_every={text}"
    )
