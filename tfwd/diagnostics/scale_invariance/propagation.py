"""How a network's tensors scale with the weights of one of its layers.

An abstract interpretation of the graph: every tensor x gets, in each channel,
the degree d in which it scales, x -> c^d x, when a weight is multiplied by
c > 0 (`degrees.Scaling`), or None if it is not known to scale like that. What
is not known never becomes known again, so that a network is never taken for
scale-invariant by mistake; one that is so for a reason beyond these rules is
not found.
"""

import typing

import keras
import numpy as np

from tfwd.diagnostics.scale_invariance import channel_rules
from tfwd.diagnostics.scale_invariance import degrees
from tfwd.diagnostics.scale_invariance import graph as graph_lib
from tfwd.diagnostics.scale_invariance import linear_rules
from tfwd.diagnostics.scale_invariance import normalization_rules

_FIXED = degrees.Scaling(np.array(0))


class Normalization(typing.NamedTuple):
    """A normalization that undoes a scale.

    Attributes:
        layer: The normalization.
        degrees: The degree that it undoes in each of its channels, ints,
            [channels]; 0 in channels that do not scale, as those of a
            concatenation that come from other layers.
    """

    layer: keras.Layer
    degrees: np.ndarray


class Propagation(typing.NamedTuple):
    """What becomes of a factor in a network.

    Attributes:
        outputs: The `degrees.Scaling` of each output of the model, or None.
        normalizations: The `Normalization`s that undo it, in order.
    """

    outputs: tuple[degrees.Scaling | None, ...]
    normalizations: tuple[Normalization, ...]

    @property
    def is_undone(self):
        """Whether no output changes, up to the normalizations' epsilon."""
        return all(x is not None and x.is_fixed for x in self.outputs)


def undone_by(model, weight_layer):
    """Finds the normalizations that undo a factor of kernel and bias together.

    If kernel and bias are multiplied by c > 0, the statistics of the batch
    that such a normalization sees in channel k become c^d[k] times (means) and
    c^(2 d[k]) times (variances) what they were, and its output stays.

    Args:
        model: A built Keras model.
        weight_layer: One of `weight_layers.of_model(model)`.

    Returns:
        A list of `Normalization`, pairs (layer, degrees): each layer once,
        degrees an int array [channels]. None if the model's outputs change,
        or are not known to stay; or if a normalization sees an offset that
        does not scale, so that its mean does not either.
    """
    graph = graph_lib.of_model(model)
    if graph is None:
        return None
    found = propagate(graph, weight_layer, with_bias=True)
    return list(found.normalizations) if found.is_undone else None


def propagate(graph, weight_layer, *, with_bias):
    """Follows a factor of a layer's kernel through a graph.

    Args:
        graph: A `graph.Graph`.
        weight_layer: A `weight_layers.WeightLayer` of its model.
        with_bias: Whether the layer's bias is multiplied with the kernel. Then
            no normalization may see an offset, see `undone_by`.

    Returns:
        A `Propagation`.
    """
    known = {tensor: degrees.uniform(tensor, 0) for tensor in graph.inputs}
    seen = {}
    for call in graph.calls:
        inputs = [known[tensor] for tensor in call.inputs]
        output = _output(call, inputs, weight_layer, with_bias, seen)
        for tensor in call.outputs:
            fixed = output is not None and output.is_fixed
            known[tensor] = degrees.uniform(tensor, 0) if fixed else output
    return Propagation(
        tuple(known[tensor] for tensor in graph.outputs),
        tuple(one for one in seen.values() if one.degrees.any()),
    )


def _output(call, inputs, weight_layer, with_bias, seen):
    """Returns the `Scaling` of a call's output, or None.

    Args:
        call: A `graph.Call`.
        inputs: The `Scaling` of each of its inputs, or None.
        weight_layer: The layer whose kernel is multiplied.
        with_bias: Whether its bias is multiplied, too.
        seen: {id of a normalization: `Normalization`}, which is added to.
    """
    if any(x is None for x in inputs):
        return None
    is_single = len(inputs) == len(call.outputs) == 1
    if call.operation is weight_layer.layer:
        if not is_single:
            return None
        return linear_rules.scaled(call, *inputs, with_bias)
    scaled = [weight_layer.kernel, *([weight_layer.bias] if with_bias else [])]
    if any(id(variable) in call.variables for variable in scaled):
        return None
    if call.kind in normalization_rules.KINDS:
        return _normalized(call, inputs, with_bias, seen)
    if all(x.is_fixed for x in inputs):
        return _FIXED
    if call.kind in channel_rules.ANY_NUMBER:
        return channel_rules.ANY_NUMBER[call.kind](call, *inputs)
    if not is_single:
        return None
    if call.kind in linear_rules.KINDS:
        return linear_rules.linear(call, *inputs)
    rule = channel_rules.UNARY.get(call.kind)
    return None if rule is None else rule(call, *inputs)


def _normalized(call, inputs, with_bias, seen):
    undone = _FIXED.degrees
    x, *masks = inputs
    if any(not mask.is_fixed for mask in masks):
        return None
    if not x.is_fixed:
        if with_bias and x.has_offset:
            return None
        undone = normalization_rules.undone(call, x)
    if undone is None:
        return None
    # One epsilon, and one moving variance, cannot fit two degrees.
    key = id(call.operation)
    first = seen.setdefault(key, Normalization(call.operation, undone))
    if not np.array_equal(first.degrees, undone):
        return None
    return _FIXED
