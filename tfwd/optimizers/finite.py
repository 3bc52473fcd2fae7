"""Whether numbers are finite, in one pass over them."""

import keras
from keras import ops

_WIDE = ("float32", "float64")


def all_finite(tensors):
    """Tells whether all elements of all tensors are finite, a scalar.

    A sum with an infinity or a NaN in it is not finite, so none is missed, and
    no array of the tensor's size is made. The sum of finite float32 numbers
    overflows above 3.4e38, which counts as not finite: a gradient like that
    has no square in float32. Half precision is summed in float32.
    """
    return ops.all(ops.stack([_is_finite(tensor) for tensor in tensors]))


def _is_finite(tensor):
    if keras.backend.standardize_dtype(tensor.dtype) not in _WIDE:
        tensor = ops.cast(tensor, "float32")
    return ops.isfinite(ops.sum(tensor))
