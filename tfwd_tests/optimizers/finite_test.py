"""What counts as finite, compiled and not, against NumPy in float64."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from tfwd.optimizers import finite
from tfwd.optimizers.backend import xla

BACKEND = keras.backend.backend()
SHAPES = [(), (0,), (1,), (7,), (5, 3), (300, 2), (2, 3, 4, 5), (70, 80)]
SHAPES += [(5000,), (3, 3, 32, 16), (2000, 3)]
LARGEST = float(np.finfo("float32").max)


def compiled(function):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    return function


CALLS = pytest.mark.parametrize(
    "call", [lambda f: f, compiled], ids=["eager", "compiled"]
)


@functools.cache
def checks(call):
    return call(finite.all_finite), call(finite.all_squares_finite)


def assert_truth(call, arrays):
    arrays = [np.asarray(array, "float32") for array in arrays]
    flat = np.concatenate([array.ravel() for array in arrays]).astype("float64")
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    is_finite, squares_are_finite = checks(call)
    assert bool(is_finite(tensors)) == bool(np.isfinite(flat).all())
    with np.errstate(over="ignore"):
        assert bool(squares_are_finite(tensors)) == bool(
            np.square(flat).sum() <= LARGEST
        )


@CALLS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e19, -2e19])
@pytest.mark.parametrize("shape", [s for s in SHAPES if 0 not in s], ids=str)
def test_one_bad_element_is_found_wherever_it_stands(shape, bad, call):
    generator = np.random.default_rng(0)
    for place in generator.integers(np.prod(shape, dtype=int), size=3):
        array = generator.normal(size=shape).astype("float32")
        array.flat[place] = bad
        assert_truth(call, [np.ones(3), array])


@CALLS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e13])
def test_what_is_finite_passes(shape, size, call):
    array = size * np.random.default_rng(0).normal(size=shape)
    assert_truth(call, [array, -array])


@CALLS
@pytest.mark.parametrize("norm", [1.8e19, 1.9e19])
def test_the_limit_is_a_norm_whose_square_is_the_largest_number(norm, call):
    """√3.4e38 is 1.84e19; the bound of the squares is far above it."""
    array = np.random.default_rng(0).normal(size=(20, 100))
    assert_truth(call, [array * norm / np.linalg.norm(array)])


@CALLS
def test_large_numbers_that_cancel_in_their_sum_are_found(call):
    """As those of a softmax do, whose gradient has rows that sum to 0."""
    for size in (3e19, 3e16):
        array = np.zeros((40, 120))
        array[1, 3], array[1, 4] = size, -size
        assert_truth(call, [array])
        array[2, 5:8] = size, -2 * size, size
        assert_truth(call, [array])


@pytest.mark.skipif(
    BACKEND != "tensorflow", reason="the private name is TensorFlow's"
)
def test_tensorflow_knows_what_xla_compiles():
    """Checked on TensorFlow 2.21."""
    import tensorflow as tf

    answers = []
    for jit_compile in (True, False):

        @tf.function(jit_compile=jit_compile)
        def look():
            answers.append(xla.compiles_for_cpu())

        look.get_concrete_function()
    assert answers == [True, False]
