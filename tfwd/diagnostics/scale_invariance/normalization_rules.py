"""Which normalizations undo the degrees and offsets of their input.

A normalization divides by a standard deviation, or a norm, of its own input.
That undoes a factor up to the normalization's epsilon, and exactly if epsilon
is multiplied by c^(2 d), too. Classes are compared exactly: a subclass may do
anything.
"""

import numpy as np
from keras import layers

KINDS = (
    *(layers.BatchNormalization, layers.LayerNormalization),
    *(layers.GroupNormalization, layers.RMSNormalization),
    layers.UnitNormalization,
)


def undone(call, x):
    """Returns the degree that a normalization undoes in each channel, or None.

    Batch normalization undoes any degrees and offsets of its channels, since
    each has its own statistics, but only where it uses those of the batch: it
    does not if it is frozen (`trainable=False`) or called with
    `training=False`, and half so with `renorm`. (Inside a functional model
    Keras 3.15 overrides that `training=False` with what the model is called
    with; nothing here relies on it.) The others mix channels, so these must
    have one degree, and no offset.

    Args:
        call: A `graph.Call` of one of `KINDS`.
        x: The `degrees.Scaling` of its input.

    Returns:
        An int array [channels of the normalization], or None if it does not
        make its output independent of c.
    """
    layer = call.operation
    tensor = call.inputs[0]
    if type(layer) is not layers.BatchNormalization:
        one_each = _normalizes_each_channel(layer, tensor)
        if x.degree is None or (x.has_offset and not one_each):
            return None
        return x.degrees
    # Before Keras 3.14 no layer renormalizes.
    renorm = getattr(layer, "renorm", False)
    if call.inference or not layer.trainable or renorm:
        return None
    # Under a mask Keras divides by the count plus a small number, so that the
    # mean of a constant is not quite that constant.
    if x.has_offset and len(call.inputs) > 1:
        return None
    rank = len(tensor.shape)
    if layer.axis % rank == rank - 1:
        return x.degrees
    if x.degree is None or x.has_offset:
        return None
    return np.full((tensor.shape[layer.axis],), x.degree)


def _normalizes_each_channel(layer, tensor):
    return (
        type(layer) is layers.GroupNormalization
        and layer.axis % len(tensor.shape) == len(tensor.shape) - 1
        and layer.groups == tensor.channels
    )
