"""NaN for what rests on numbers that are not finite.

A network may hide one: ReLU makes 0 of −∞ and has the derivative 0 at NaN, max
pooling passes over both. What is measured would then be a plausible number.
"""

import math

import keras
from keras import ops

from tfwd.diagnostics.backend import derivatives
from tfwd.kfac import capture


def nan_unless_finite(model, tensors, spared=()):
    """Returns 0, or NaN for examples that rest on what is not finite, [batch].

    Args:
        model: A Keras model, all of whose variables every example rests on.
        tensors: Nested tensors [batch, ...], inputs or labels; integers are
            finite, None is not looked at.
        spared: Variables of the model that are not read.
    """
    spared = {id(variable) for variable in spared}
    values = [
        capture.stored_value(variable)
        for variable in model.variables
        if id(variable) not in spared
    ]
    of_model = [ops.all(ops.isfinite(x)) for x in values if _may_be_infinite(x)]
    leaves = [ops.convert_to_tensor(x) for x in keras.tree.flatten(tensors)]
    is_finite = ops.ones(ops.shape(leaves[0])[:1], dtype="bool")
    for leaf in leaves:
        if _may_be_infinite(leaf):
            axes = tuple(range(1, len(leaf.shape)))
            each = ops.all(ops.isfinite(leaf), axis=axes)
            is_finite = ops.logical_and(is_finite, each)
    for each in of_model:
        is_finite = ops.logical_and(is_finite, each)
    dtype = derivatives.kfac.widest_float()
    return ops.where(is_finite, ops.zeros((), dtype), math.nan)


def _may_be_infinite(tensor):
    return "float" in keras.backend.standardize_dtype(tensor.dtype)
