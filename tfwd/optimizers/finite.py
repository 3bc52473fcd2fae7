"""Whether numbers, or their squares, are finite, in one pass over them."""

import functools
import math

import keras
import numpy as np
from keras import ops

from tfwd.optimizers.backend import xla

_WIDE = ("float32", "float64")
# Tensors below it cost nothing; shorter rows are joined.
_SMALL = 4096
_SHORTEST_ROW = 64
# Far below the 1.8e19 that has no square: 1e12 and more is looked at again.
_SAFE_SUM = 1e12

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def _sum_of_squares(tensor):
        # On a CPU three times faster than the sum of an array of squares. It
        # halves each square first, and twice it overflows where they do.
        return 2 * tf.nn.l2_loss(tensor)

else:

    def _sum_of_squares(tensor):
        return ops.sum(ops.square(tensor))


def all_finite(tensors):
    """Returns whether all elements of all tensors are finite, a scalar.

    A sum with an infinity or a NaN in it is not finite, so none is missed, and
    no array of the tensor's size is made. The sum of finite float32 numbers
    overflows above 3.4e38, which counts as not finite. Half precision is
    summed in float32.
    """
    return _is_finite([_sum(_wide(tensor)) for tensor in tensors])


def all_squares_finite(tensors):
    """Returns whether the sum of the squares of all tensors is finite.

    Where it is, so is every square and every mean of squares: in float32 for
    a norm below 1.8e19.

    Where XLA compiles for a CPU it would write the squares to memory, to sum
    them and to use them again. There they are summed only if weighted sums of
    the rows of the large tensors are together above 1e12, or no number. Larger
    elements that cancel in the sums of all rows, to the seventh digit and for
    weights drawn at random, would be missed.
    """
    tensors = [_wide(tensor) for tensor in tensors]

    def are_finite(tensors=tensors):
        return _is_finite([_sum_of_squares(tensor) for tensor in tensors])

    if not xla.compiles_for_cpu():
        return are_finite()
    large = [tensor for tensor in tensors if _is_large(tensor)]
    small = [tensor for tensor in tensors if not _is_large(tensor)]
    if not large:
        return are_finite()
    total = _total([ops.sum(ops.abs(_weighted_sums(each))) for each in large])
    is_safe = total < _SAFE_SUM  # Not so for a NaN.
    if small:
        is_safe = ops.logical_and(is_safe, are_finite(small))
    return ops.cond(
        is_safe,
        lambda: ops.convert_to_tensor(True, dtype="bool"),
        are_finite,
    )


def _is_finite(parts):
    return ops.isfinite(_total(parts))


def _total(parts):
    dtype = keras.backend.result_type(*(part.dtype for part in parts))
    return sum(ops.cast(part, dtype) for part in parts)


def _sum(tensor):
    if xla.compiles_for_cpu() and _is_large(tensor):
        return ops.sum(_weighted_sums(tensor))
    return ops.sum(tensor)


def _is_large(tensor):
    return math.prod(tensor.shape) >= _SMALL


def _weighted_sums(tensor):
    """Returns the sums of the rows of a large tensor, [rows].

    A product, which TensorFlow's XLA reads on a CPU faster than it sums.
    """
    rows = _rows(tensor)
    weights = ops.convert_to_tensor(_weights(rows.shape[-1]), rows.dtype)
    return ops.matmul(rows, weights)


@functools.cache
def _weights(size):
    """Returns weights below 1, so that no sum overflows that did not before."""
    return np.random.default_rng(0).uniform(0.25, 0.5, size).astype("float32")


def _rows(tensor):
    """Returns the tensor as a matrix, its last axes joined to rows."""
    shape = tuple(tensor.shape)
    size, columns = math.prod(shape), 1
    while shape and columns < _SHORTEST_ROW:
        columns *= shape[-1]
        shape = shape[:-1]
    return ops.reshape(tensor, (size // max(columns, 1), columns))


def _wide(tensor):
    if keras.backend.standardize_dtype(tensor.dtype) not in _WIDE:
        tensor = ops.cast(tensor, "float32")
    return tensor
