"""Whether numbers, or their squares, are finite, in a pass or two over them."""

import math

import keras
from keras import ops

from tfwd.optimizers import xla

_WIDE = ("float32", "float64")
# Shorter rows are joined: the sum of a row is one step of a vector unit's work.
_SHORTEST_ROW = 64

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
    total = _sum_by_rows if xla.compiles_for_cpu() else ops.sum
    return _is_finite([total(_wide(tensor)) for tensor in tensors])


def all_squares_finite(tensors):
    """Returns whether the sum of the squares of all tensors is finite.

    Where it is, so is every square and every mean of squares: in float32 for
    a norm below 1.8e19.
    """
    tensors = [_wide(tensor) for tensor in tensors]

    def are_finite():
        return _is_finite([_sum_of_squares(tensor) for tensor in tensors])

    if not xla.compiles_for_cpu():
        return are_finite()
    # There the squares would be written to memory to be summed.
    return ops.cond(
        _is_finite([_bound_of_squares(tensor) for tensor in tensors]),
        lambda: ops.convert_to_tensor(True, dtype="bool"),
        are_finite,
    )


def _is_finite(parts):
    dtype = keras.backend.result_type(*(part.dtype for part in parts))
    return ops.isfinite(sum(ops.cast(part, dtype) for part in parts))


def _bound_of_squares(tensor):
    """Returns at least four times the sum of squares, of two passes.

    With r the sum of a row's n elements and M the largest, or 0,
    Σ|g| = 2Σ max(g, 0) − r ≤ 2nM + |r|, and Σg² ≤ (Σ|g|)². The factor covers
    the rounding of r. What is not a number is in r: `max` passes over it.
    """
    rows = _rows(tensor)
    largest = ops.maximum(ops.max(rows, axis=-1), 0)
    sums = ops.sum(rows, axis=-1)
    bound = 2 * (2 * rows.shape[-1] * largest + ops.abs(sums))
    return ops.sum(ops.square(bound))


def _sum_by_rows(tensor):
    # XLA on a CPU sums the last axis with all its cores, all axes with one.
    return ops.sum(ops.sum(_rows(tensor), axis=-1))


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
