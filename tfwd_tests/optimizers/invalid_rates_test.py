"""A step with a learning rate or weight decay that is none is skipped."""

import keras
import numpy as np
import pytest
from keras import ops

import tfwd
from tfwd_tests.optimizers import harness

BAD_STEP = 2
INVALID = [float("nan"), -0.5, float("inf")]


class OnceInvalid(keras.optimizers.schedules.LearningRateSchedule):
    """A half, but for one step."""

    def __init__(self, value):
        self.value = value

    def __call__(self, step):
        is_bad = ops.equal(ops.cast(step, "int32"), BAD_STEP)
        return ops.where(is_bad, self.value, 0.5)


def trained(optimizer):
    variable = keras.Variable([1.0, -2.0])
    gradients = [[[1.0, 2.0]]] * 4
    return harness.apply_all(optimizer, [variable], gradients)[0]


@pytest.mark.parametrize("value", INVALID)
def test_invalid_learning_rate_of_a_schedule_is_skipped(value):
    optimizer = tfwd.SGDW(OnceInvalid(value), weight_decay=0.5, momentum=0.0)
    expected = np.array([1.0, -2.0])
    for _ in range(3):
        expected = expected - 0.5 * np.array([1.0, 2.0]) - 0.25 * expected
    np.testing.assert_allclose(trained(optimizer), expected, rtol=1e-6)
    assert int(ops.convert_to_numpy(optimizer.skipped_steps)) == 1


@pytest.mark.parametrize("mode", ["l2", "decoupled", "stable", "independent"])
@pytest.mark.parametrize("value", INVALID)
def test_invalid_value_of_the_decay_s_schedule_is_skipped(value, mode):
    optimizer = tfwd.SGD(
        0.25,
        weight_decay=0.5,
        momentum=0.0,
        weight_decay_mode=mode,
        weight_decay_schedule=OnceInvalid(value),
    )
    rate = 0.25 if mode == "independent" else 0.25 * 0.25
    expected = np.array([1.0, -2.0])
    for _ in range(3):
        expected = expected - 0.25 * np.array([1.0, 2.0]) - rate * expected
    np.testing.assert_allclose(trained(optimizer), expected, rtol=1e-6)
    assert int(ops.convert_to_numpy(optimizer.skipped_steps)) == 1


@pytest.mark.parametrize("value", INVALID)
def test_invalid_weight_decay_of_a_schedule_is_skipped(value):
    optimizer = tfwd.SGDW(0.5, OnceInvalid(value), momentum=0.0)
    expected = np.array([1.0, -2.0])
    for _ in range(3):
        expected = expected - 0.5 * np.array([1.0, 2.0]) - 0.25 * expected
    np.testing.assert_allclose(trained(optimizer), expected, rtol=1e-6)
    assert int(ops.convert_to_numpy(optimizer.skipped_steps)) == 1


@pytest.mark.parametrize("value", INVALID)
def test_learning_rate_that_is_set_to_no_rate_moves_nothing(value):
    optimizer = tfwd.SGD(0.25)
    optimizer.learning_rate = value
    np.testing.assert_array_equal(trained(optimizer), [1.0, -2.0])
    assert int(ops.convert_to_numpy(optimizer.skipped_steps)) == 4
