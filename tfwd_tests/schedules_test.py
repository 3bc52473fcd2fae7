"""Schedules against their formulas in float64, at every step."""

import json

import keras
import numpy as np
import pytest

from tfwd import schedules

# The training binary's own.
CosineDecay = keras.optimizers.schedules.CosineDecay
CosineDecayRestarts = keras.optimizers.schedules.CosineDecayRestarts

STEPS_PER_EPOCH = 391  # CIFAR's 50 000 examples in batches of 128

# Four units in the last place of a float32 rate of 0.1.
TOLERANCE = 3e-8


def compiled(schedule):
    """The schedule as the compiled train step sees it: a traced step."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        call = tf.function(schedule.__call__, jit_compile=True)
    elif keras.backend.backend() == "jax":
        import jax

        call = jax.jit(schedule.__call__)
    else:

        def call(steps):  # Keras' schedules take scalars alone on torch.
            values = [float(schedule(step)) for step in steps.reshape(-1)]
            return np.reshape(values, steps.shape)

    def evaluate(steps):
        steps = keras.ops.convert_to_tensor(np.asarray(steps, "int32"))
        return keras.ops.convert_to_numpy(call(steps))

    return evaluate


def restarted_cosine(step, first_period, multiplier):
    """(1 + cos(pi * t_cur / T_i)) / 2 by counting the periods, in float64."""
    start, period = 0, first_period
    while step >= start + period:
        start, period = start + period, period * multiplier
    return (1 + np.cos(np.pi * (step - start) / period)) / 2


def test_step_decay_drops_with_the_first_step_of_each_epoch():
    schedule = schedules.step_decay(0.1, STEPS_PER_EPOCH, (80, 160))
    steps = np.arange(200 * STEPS_PER_EPOCH)
    epoch = steps // STEPS_PER_EPOCH
    expected = np.where(epoch < 80, 0.1, np.where(epoch < 160, 0.01, 0.001))
    np.testing.assert_array_equal(
        compiled(schedule)(steps), expected.astype("float32")
    )


def test_step_decay_multiplies_by_its_factor():
    schedule = schedules.step_decay(2.0, 1, [1, 2, 4], factor=0.5)
    np.testing.assert_array_equal(
        compiled(schedule)(range(6)), [2.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    )


@pytest.mark.parametrize(
    ("first_epochs", "multiplier", "epochs"),
    [
        (14, 2, 210),  # Xie et al. 2022, Fig. 17
        (1, 2, 127),
        (1, 3, 121),
        (10, 1, 100),
    ],
)
def test_keras_restarts_equal_the_formula_at_every_step(
    first_epochs, multiplier, epochs
):
    first_period = first_epochs * STEPS_PER_EPOCH
    schedule = CosineDecayRestarts(0.1, first_period, multiplier)
    steps = np.arange(epochs * STEPS_PER_EPOCH)
    expected = [
        0.1 * restarted_cosine(step, first_period, multiplier) for step in steps
    ]
    # With equal periods the phase is t / T less its whole part, rounded as
    # t / T is: here by one unit in the last place of 10.
    tolerance = TOLERANCE
    if multiplier == 1:
        tolerance += 0.05 * np.pi * np.spacing(np.float32(10))
    np.testing.assert_allclose(
        compiled(schedule)(steps), expected, rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("epoch", [14, 42, 98])
def test_a_single_step_sees_the_restart(epoch):
    # Vectors and scalars may take different routes through the logarithm
    # with which Keras counts the restarts.
    schedule = CosineDecayRestarts(0.1, 14 * STEPS_PER_EPOCH, 2.0)
    evaluate = compiled(schedule)
    restart = epoch * STEPS_PER_EPOCH
    assert evaluate(restart - 1) < 1e-7
    assert evaluate(restart) == np.float32(0.1)


def test_keras_cosine_ends_at_its_final_fraction_and_stays():
    schedule = CosineDecay(0.1, 1000, alpha=0.05)
    steps = np.arange(1100)
    wave = (1 + np.cos(np.pi * np.minimum(steps, 1000) / 1000)) / 2
    np.testing.assert_allclose(
        compiled(schedule)(steps),
        0.1 * (0.05 + 0.95 * wave),
        rtol=0,
        atol=TOLERANCE,
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (lambda: schedules.cosine(0.1, 9, 0.5), CosineDecay(0.1, 9, alpha=0.5)),
        (
            lambda: schedules.cosine_restarts(0.1, 3, 1.5),
            CosineDecayRestarts(0.1, 3, t_mul=1.5),
        ),
    ],
)
def test_a_deprecated_name_makes_keras_schedule_and_names_it(old, new):
    match = f"keras.optimizers.schedules.{type(new).__name__}"
    with pytest.warns(DeprecationWarning, match=match):
        schedule = old()
    assert type(schedule) is type(new)
    assert schedule.get_config() == new.get_config()


def test_warmup_of_a_constant_is_a_line_that_loses_no_step():
    schedule = schedules.Warmup(0.1, 4)
    np.testing.assert_allclose(
        compiled(schedule)(range(6)),
        [0.025, 0.05, 0.075, 0.1, 0.1, 0.1],
        rtol=1e-7,
    )


def test_warmup_neither_shifts_nor_changes_the_schedule_after_it():
    inner = CosineDecay(0.1, 100)
    schedule = compiled(schedules.Warmup(inner, 10))
    plain = compiled(inner)
    steps = np.arange(10, 110)
    np.testing.assert_array_equal(schedule(steps), plain(steps))
    early = np.arange(10)
    np.testing.assert_allclose(
        schedule(early), plain(early) * (early + 1) / 10, rtol=1e-6
    )


def test_warmup_over_no_steps_is_the_schedule_itself():
    inner = schedules.step_decay(0.1, 5, (1, 2))
    np.testing.assert_array_equal(
        compiled(schedules.Warmup(inner, 0))(range(15)),
        compiled(inner)(range(15)),
    )


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.step_decay(0.1, 2, (1, 3)),
        schedules.Warmup(0.1, 3),
        schedules.Warmup(CosineDecayRestarts(0.1, 2), 3, "rise"),
        schedules.Warmup(schedules.Warmup(CosineDecay(0.1, 7), 3), 2),
    ],
)
def test_a_schedule_survives_the_config_of_an_optimizer(schedule):
    optimizer = keras.optimizers.SGD(schedule)
    saved = json.dumps(keras.optimizers.serialize(optimizer))
    loaded = keras.optimizers.deserialize(json.loads(saved))
    assert loaded.get_config() == optimizer.get_config()
    np.testing.assert_array_equal(
        compiled(loaded._learning_rate)(range(9)), compiled(schedule)(range(9))
    )


def test_a_schedule_saved_by_version_0_1_is_loaded():
    saved = {
        "module": "tfwd.optimizers.schedules",
        "class_name": "Warmup",
        "config": {"schedule": 0.1, "steps": 3, "name": "warmup"},
        "registered_name": "tfwd>Warmup",
    }
    loaded = keras.saving.deserialize_keras_object(saved)
    assert type(loaded) is schedules.Warmup
    assert loaded.get_config() == saved["config"]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_takes_the_steps_of_the_schedule(jit_compile):
    # The mean output for inputs of one has the gradient one: after n steps
    # the weight is minus the sum of n rates.
    schedule = schedules.Warmup(schedules.step_decay(1.0, 2, (2,)), 3)
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]
    )
    model.layers[0].kernel.assign([[0.0]])
    model.compile(
        keras.optimizers.SGD(schedule),
        loss=lambda _, output: keras.ops.mean(output),
        jit_compile=jit_compile,
    )
    model.fit(np.ones((6, 1)), np.ones((6, 1)), batch_size=1, verbose=0)
    expected = -(1 / 3 + 2 / 3 + 1 + 1 + 0.1 + 0.1)
    kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
    assert kernel == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: schedules.step_decay(-0.1, 5, (1,)),
            r"`initial_value` must be .* Received: initial_value=-0.1$",
        ),
        (
            lambda: schedules.step_decay(0.1, 0, (1,)),
            r"`steps_per_epoch` must be .* Received: steps_per_epoch=0$",
        ),
        (
            lambda: schedules.step_decay(0.1, 5, (80, 40)),
            r"`epochs` must be .* Received: epochs=\[80, 40\]$",
        ),
        (
            lambda: schedules.step_decay(0.1, 5, ()),
            r"`epochs` must be .* Received: epochs=\[\]$",
        ),
        (
            lambda: schedules.step_decay(0.1, 5, (0, 1)),
            r"`epochs` must be .* Received: epochs=0$",
        ),
        (
            lambda: schedules.step_decay(0.1, 5, (1,), factor=0.0),
            r"`factor` must be .* Received: factor=0.0$",
        ),
        (
            lambda: schedules.Warmup(float("nan"), 5),
            r"`schedule` must be .* Received: schedule=nan$",
        ),
        (
            lambda: schedules.Warmup(0.1, -1),
            r"`steps` must be .* >= 0. Received: steps=-1$",
        ),
    ],
)
def test_senseless_values_are_refused_with_the_rule(make, message):
    with pytest.raises(ValueError, match=message):
        make()
