"""The pieces of arithmetic that all modes of weight decay share."""

import numpy as np
import pytest
from keras import ops

from tfwd.optimizers import weight_decay
from tfwd_tests.optimizers import harness


def compiled(function):
    if harness.BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if harness.BACKEND == "jax":
        import jax

        return jax.jit(function)
    return function


@pytest.mark.parametrize(
    "shape",
    [
        (5002, 2000),
        (20, 500, 1000),
        (9, 9, 400),
        (9_999_999,),
        (9_999_999, 1),
        (2, 5_000_001),
        (500, 20_000, 1),
        (100_000, 100),
    ],
)
def test_global_mean_keeps_its_digits_over_many_elements(shape):
    values = np.random.default_rng(0).exponential(size=shape)
    values = values.astype("float32")
    mean = compiled(lambda v: weight_decay.global_mean([v]))(
        ops.convert_to_tensor(values)
    )
    truth = values.mean(dtype="float64")
    assert abs(float(ops.convert_to_numpy(mean)) / truth - 1) <= 1e-6


def test_global_mean_weighs_elements_and_not_tensors():
    tensors = [np.full((10, 3), 4.0), np.full((6,), 1.0), np.float64(7.0)]
    mean = weight_decay.global_mean(
        [ops.convert_to_tensor(t, "float32") for t in tensors]
    )
    assert float(ops.convert_to_numpy(mean)) == pytest.approx(
        (30 * 4 + 6 * 1 + 7) / 37, rel=1e-7
    )


def test_empty_tensor_does_not_count_in_the_global_mean():
    tensors = [np.zeros((0, 3), "float32"), np.full((2,), 3.0, "float32")]
    mean = weight_decay.global_mean([ops.convert_to_tensor(t) for t in tensors])
    assert float(ops.convert_to_numpy(mean)) == 3.0


@pytest.mark.parametrize(
    ("second_moment", "exponent", "offset", "expected"),
    [
        (4.0, 0.5, 0.0, 0.5),
        (4.0, 0.5, 5.0, 1 / 3),
        (4.0, 0.0, 0.0, 1.0),
        (0.0, 0.5, 0.0, 0.0),
        (0.0, 0.5, 1e-8, 1e4),
        (0.0, 0.0, 0.0, 1.0),
        (1e-30, 1.0, 0.0, 1e30),
    ],
)
def test_inverse_power(second_moment, exponent, offset, expected):
    value = weight_decay.inverse_power(
        ops.convert_to_tensor(second_moment, "float32"), exponent, offset
    )
    assert float(ops.convert_to_numpy(value)) == pytest.approx(
        expected, rel=1e-6
    )
