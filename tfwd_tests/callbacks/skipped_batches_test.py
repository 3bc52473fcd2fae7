"""A batch that is no good, in `fit`: statistics, warnings, and the end."""

import keras
import numpy as np
import pytest
from keras import ops

import tfwd

MOMENTUM = 0.75


def normalized(optimizer, **compile_arguments):
    """Returns a model with batch normalization of its inputs."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.BatchNormalization(momentum=MOMENTUM),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def examples(bad=()):
    """Returns six batches of four rows, of which some are bad."""
    x = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
    for batch in bad:
        x[4 * batch + 1] = np.nan
    return x, np.ones((24, 1), "float32")


def averages(batches):
    """Returns the moving averages that batches leave, by their definition."""
    x = examples()[0].reshape(6, 4, 3)[list(batches)]
    mean, variance = np.zeros(3), np.ones(3)
    for batch in x:
        mean = MOMENTUM * mean + (1 - MOMENTUM) * batch.mean(0)
        variance = MOMENTUM * variance + (1 - MOMENTUM) * batch.var(0)
    return mean, variance


def fit(model, bad, callbacks=(), **arguments):
    return model.fit(
        *examples(bad),
        batch_size=4,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    )


def assert_averages(model, batches):
    layer = model.layers[0]
    for variable, expected in zip(
        (layer.moving_mean, layer.moving_variance),
        averages(batches),
        strict=True,
    ):
        np.testing.assert_allclose(
            ops.convert_to_numpy(variable), expected, rtol=1e-5
        )


@pytest.mark.parametrize(
    "bad", [(0,), (3,), (5,), (1, 2)], ids=["first", "within", "last", "two"]
)
def test_moving_averages_are_those_of_the_good_batches(bad):
    model = normalized(tfwd.AdamS(0.01, weight_decay=0.1))
    with pytest.warns(UserWarning, match="skipped"):
        fit(model, bad, [tfwd.SkippedSteps()])
    assert_averages(model, [b for b in range(6) if b not in bad])
    assert np.all(np.isfinite(model.predict(examples()[0], verbose=0)))


def test_moving_averages_of_a_spoiled_accumulated_step_are_undone():
    """Batches 2 and 3 are one step, which the third batch spoils."""
    model = normalized(tfwd.SGD(0.01, gradient_accumulation_steps=2))
    with pytest.warns(UserWarning, match="skipped 1 step"):
        fit(model, [2], [tfwd.SkippedSteps()])
    assert_averages(model, [0, 1, 4, 5])


def test_averages_of_good_batches_alone_are_left_as_they_are():
    model = normalized(tfwd.SGD(0.01))
    fit(model, [], [tfwd.SkippedSteps(stop_after=1)])
    assert_averages(model, range(6))


def test_frozen_layers_are_not_copied():
    model = normalized(tfwd.SGD(0.01))
    model.layers[0].trainable = False
    model.compile(tfwd.SGD(0.01), "mse")
    callback = tfwd.SkippedSteps()
    fit(model, [], [callback])
    assert callback._kept == []


def test_nan_in_every_step_is_told_once_without_a_callback():
    model = normalized(tfwd.SGD(0.01))
    with pytest.warns(UserWarning, match="skipped 6 steps") as caught:
        fit(model, range(6))
    assert sum("skipped" in str(each.message) for each in caught) == 1
    fit(model, range(6))


def test_training_stops_after_skipped_steps_in_a_row():
    model = normalized(tfwd.SGD(0.01))
    with pytest.warns(UserWarning, match="skipped") as caught:
        fit(model, [0, 2, 3, 4], [tfwd.SkippedSteps(stop_after=3)], epochs=5)
    messages = [str(each.message) for each in caught]
    assert any("the last 3 steps were skipped" in text for text in messages)
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 5


def test_training_goes_on_after_fewer_skipped_steps_in_a_row():
    model = normalized(tfwd.SGD(0.01))
    with pytest.warns(UserWarning, match="skipped 4 steps"):
        fit(model, [0, 1, 3, 4], [tfwd.SkippedSteps(stop_after=3)])
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 6


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"])
def test_stop_after_is_a_positive_integer(value):
    with pytest.raises(ValueError, match="^`stop_after` must be an integer"):
        tfwd.SkippedSteps(stop_after=value)


def test_optimizers_in_wrappers_are_found():
    model = normalized(keras.optimizers.LossScaleOptimizer(tfwd.SGD(0.01), 1.0))
    # Keras skips by itself what it sees; the callback must not mind.
    fit(model, [2], [tfwd.SkippedSteps()])
    assert np.all(np.isfinite(model.get_weights()[0]))
