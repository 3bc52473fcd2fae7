"""How layers with a kernel pass on the degree in which their input scales.

Rules return the `degrees.Scaling` of the output, or None if it is not known.
Classes are compared exactly: a subclass may do anything.
"""

import keras
import numpy as np
from keras import layers

from tfwd.diagnostics.scale_invariance import degrees

_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_CONVOLUTIONS = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D, *_DEPTHWISE),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
)
KINDS = (
    *(layers.Dense, layers.EinsumDense, *_CONVOLUTIONS),
    *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
)
# f(c x) = c f(x) for c > 0.
_HOMOGENEOUS = (keras.activations.relu, keras.activations.leaky_relu)


def scaled(call, x, with_bias):
    """Returns the output of the layer whose kernel is multiplied by c.

    Args:
        call: A `graph.Call` of the layer.
        x: The `Scaling` of its input, which scales if the layer is fed by
            itself.
        with_bias: Whether the bias is multiplied, too.
    """
    layer = call.operation
    if type(layer) not in (*KINDS, layers.Embedding):
        return None
    if not _is_plain(layer) or x.degree is None or x.has_offset:
        return None
    has_bias = getattr(layer, "bias", None) is not None
    if has_bias and with_bias and x.degree > 0:
        # c W (c^d x) + c b has two degrees.
        return None
    has_offset = has_bias and not with_bias
    if has_offset and not _bias_is_per_channel(layer):
        return None
    output = degrees.uniform(call.outputs[0], x.degree + 1, has_offset)
    return activated(getattr(layer, "activation", None), output)


def linear(call, x):
    """Returns the output of any other layer with a kernel."""
    layer = call.operation
    if not _is_plain(layer):
        return None
    has_bias = getattr(layer, "bias", None) is not None
    if has_bias and not _bias_is_per_channel(layer):
        return None
    if x.has_offset and not _keeps_constants(layer):
        return None
    has_offset = x.has_offset or has_bias
    if x.degree is not None:
        output = degrees.uniform(call.outputs[0], x.degree, has_offset)
    elif type(layer) in _DEPTHWISE and degrees.is_channels_last(layer):
        repeated = np.repeat(x.degrees, layer.depth_multiplier)
        output = degrees.Scaling(repeated, has_offset)
    else:
        return None
    return activated(layer.activation, output)


def activated(activation, x):
    """Returns what an activation, a function or None, makes of x."""
    if activation in (None, keras.activations.linear):
        return x
    if activation not in _HOMOGENEOUS or x.has_offset:
        return None
    return x


def _is_plain(layer):
    """Whether the layer multiplies by its kernel, and by nothing else."""
    return not (
        getattr(layer, "quantization_mode", None)
        or getattr(layer, "lora_enabled", False)
    )


def _bias_is_per_channel(layer):
    return degrees.is_channels_last(layer) and len(layer.bias.shape) == 1


def _keeps_constants(layer):
    """Whether constant channels become constant channels.

    Padding with zeros makes them different at the border.
    """
    if type(layer) in _CONVOLUTIONS:
        return degrees.is_channels_last(layer) and (
            layer.padding == "valid" or set(layer.kernel_size) == {1}
        )
    return type(layer) is layers.Dense
