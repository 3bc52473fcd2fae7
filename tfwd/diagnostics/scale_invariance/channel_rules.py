"""How layers without a kernel pass on the degree in which their inputs scale.

A rule takes a `graph.Call` and the `degrees.Scaling` of each input to that of
the output, or to None if it is not known. Classes are compared exactly: a
subclass may do anything.
"""

import numbers

import numpy as np
from keras import layers

from tfwd.diagnostics.scale_invariance import degrees
from tfwd.diagnostics.scale_invariance import graph
from tfwd.diagnostics.scale_invariance import linear_rules


def _same(call, x):
    return x


def _homogeneous(call, x):
    """Elementwise, with f(c x) = c f(x)."""
    return None if x.has_offset else x


def _activation(call, x):
    return linear_rules.activated(call.operation.activation, x)


def _relu(call, x):
    layer = call.operation
    if layer.max_value is not None or layer.threshold:
        return None
    return _homogeneous(call, x)


def _constant_channels(call, x):
    """Of each channel by itself, with f(c x + o) = c f(x) + o."""
    if degrees.is_channels_last(call.operation):
        return x
    return degrees.rearranged(call.outputs[0], x)


def _channels(call, x):
    """Of each channel by itself, with f(c x) = c f(x)."""
    return None if x.has_offset else _constant_channels(call, x)


def _pooling(call, x):
    # Backends may disagree about what is beyond the border.
    if call.operation.padding != "valid":
        return _channels(call, x)
    return _constant_channels(call, x)


def _reshape(call, x):
    return degrees.rearranged(call.outputs[0], x)


def _flatten(call, x):
    (output,) = call.outputs
    if x.degree is not None:
        return degrees.uniform(output, x.degree, x.has_offset)
    if output.channels is None or not degrees.is_channels_last(call.operation):
        return None
    positions = output.channels // x.degrees.size
    return degrees.Scaling(np.tile(x.degrees, positions), x.has_offset)


def _concatenate(call, *xs):
    rank = len(call.outputs[0].shape)
    has_offset = any(x.has_offset for x in xs)
    if call.operation.axis % rank < rank - 1:
        # Each part has an offset of its own.
        return None if has_offset else _sum(call, *xs)
    if any(x.degrees.ndim == 0 for x in xs):
        return None
    return degrees.Scaling(np.concatenate([x.degrees for x in xs]), has_offset)


def _sum(call, *xs):
    found = _broadcast(call, xs)
    if found is None or any((d != found[0]).any() for d in found):
        return None
    return degrees.Scaling(found[0], any(x.has_offset for x in xs))


def _maximum(call, *xs):
    return None if any(x.has_offset for x in xs) else _sum(call, *xs)


def _product(call, *xs):
    found = _broadcast(call, xs)
    if found is None or any(x.has_offset for x in xs):
        return None
    return degrees.Scaling(sum(found))


def _broadcast(call, xs):
    """Returns the degrees of each input in the channels of the output."""
    channels = call.outputs[0].channels
    if channels is not None:
        return [np.broadcast_to(x.degrees, (channels,)) for x in xs]
    if any(x.degree is None for x in xs):
        return None
    return [np.array(x.degree) for x in xs]


def _of_tensors(rule):
    """Returns the rule for an operation that takes nothing but tensors."""

    def apply(call, *xs):
        return rule(call, *xs) if len(xs) == len(call.arguments) else None

    return apply


def _multiply(call, *xs):
    numbers_ = [a for a in call.arguments if isinstance(a, numbers.Number)]
    if len(xs) == len(numbers_) == 1:
        return xs[0]
    return _of_tensors(_product)(call, *xs)


def _divide(call, *xs):
    dividend, divisor = call.arguments
    is_by_number = isinstance(divisor, numbers.Number)
    if is_by_number and isinstance(dividend, graph.Tensor):
        return xs[0]
    return None


def _of(rule, *names, sizes=(1, 2, 3)):
    """Returns {class: rule} of `names` that end with the dimensions."""
    kinds = [f"{name}{size}D" for name in names for size in sizes]
    return {getattr(layers, kind): rule for kind in kinds}


# The functions of one input, and those of several.
UNARY = {
    layers.Identity: _same,
    layers.ActivityRegularization: _same,
    layers.RepeatVector: _same,
    layers.Activation: _activation,
    layers.ReLU: _relu,
    layers.LeakyReLU: _homogeneous,
    layers.PReLU: _homogeneous,
    layers.Dropout: _homogeneous,
    layers.GaussianDropout: _homogeneous,
    layers.Flatten: _flatten,
    layers.Reshape: _reshape,
    layers.Permute: _reshape,
    **_of(_pooling, "MaxPooling", "AveragePooling"),
    **_of(_constant_channels, "GlobalMaxPooling", "GlobalAveragePooling"),
    **_of(_constant_channels, "Cropping"),
    **_of(_channels, "SpatialDropout", "ZeroPadding", "UpSampling"),
    "negative": _same,
    "relu": _homogeneous,
    "leaky_relu": _homogeneous,
}
ANY_NUMBER = {
    layers.Concatenate: _concatenate,
    layers.Add: _sum,
    layers.Subtract: _sum,
    layers.Average: _sum,
    layers.Maximum: _maximum,
    layers.Minimum: _maximum,
    layers.Multiply: _product,
    "add": _of_tensors(_sum),
    "subtract": _of_tensors(_sum),
    "maximum": _of_tensors(_maximum),
    "minimum": _of_tensors(_maximum),
    "multiply": _multiply,
    "divide": _divide,
}
