"""The weight layers of a model: its kernels, each with its layer and bias."""

import collections
import dataclasses
import typing

import keras

from tfwd import arguments
from tfwd.diagnostics.scale_invariance import graph as graph_lib
from tfwd.kfac import capture

_KERNELS = (
    *("kernel", "depthwise_kernel", "pointwise_kernel"),
    *("recurrent_kernel", "embeddings"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class WeightLayer:
    """One kernel of a model.

    A layer with two kernels, such as `SeparableConv2D` or the cell of an LSTM,
    makes two weight layers.

    Attributes:
        name: The layer's name, or its path where names repeat; followed by
            `/recurrent_kernel` and the like if the layer has several kernels.
            Unique in the model.
        layer: The layer that owns it.
        kernel: A trainable variable of at least two dimensions.
        bias: The layer's bias, or None.
    """

    name: str
    layer: keras.Layer
    kernel: keras.Variable
    bias: keras.Variable | None


def of_model(model: keras.Model) -> list[WeightLayer]:
    """Returns the weight layers of a model.

    They are in the order of execution where the model has a graph, otherwise
    in that of its layers. A kernel that two layers share is that of the first.

    Args:
        model: A built Keras model.

    Returns:
        A list of `WeightLayer`.

    Raises:
        ValueError: If the model is not built.
    """
    arguments.check_model("model", model)
    if not model.built:
        raise ValueError(
            "`model` must be built: call it, or give it an `Input`. "
            f"Received: model={model.name}"
        )
    found = []
    seen: set[int] = set()
    for layer in _layers_of(model):
        own = {id(v) for v in capture.own_trainable_variables(layer)}
        kernels = {}
        for attribute in _KERNELS:
            kernel: typing.Any = getattr(layer, attribute, None)
            if id(kernel) in own - seen and len(kernel.shape) > 1:
                kernels[attribute] = kernel
        seen |= {id(kernel) for kernel in kernels.values()}
        bias = getattr(layer, "bias", None)
        if not isinstance(bias, keras.Variable):
            bias = None
        for attribute, kernel in kernels.items():
            suffix = f"/{attribute}" if len(kernels) > 1 else ""
            found.append((layer, suffix, kernel, bias))
    names = _names([(layer, suffix) for layer, suffix, _, _ in found])
    return [
        WeightLayer(name, layer, kernel, bias)
        for name, (layer, _, kernel, bias) in zip(names, found, strict=True)
    ]


def _layers_of(model):
    """Returns all layers, each once, those of the graph first and in order."""
    graph = graph_lib.of_model(model)
    calls = () if graph is None else graph.calls
    called = [
        layer
        for call in calls
        if isinstance(call.operation, keras.Layer)
        for layer in capture.layers_of(call.operation)
    ]
    every = [*called, *capture.layers_of(model)]
    return list({id(layer): layer for layer in every}.values())


def _names(found):
    names = [layer.name + suffix for layer, suffix in found]
    counts = collections.Counter(names)
    names = [
        name if counts[name] == 1 else layer.path + suffix
        for name, (layer, suffix) in zip(names, found, strict=True)
    ]
    # Models that were nested after they were built may repeat a path.
    counts, numbers = collections.Counter(names), collections.Counter()
    for i, name in enumerate(names):
        if counts[name] > 1:
            numbers[name] += 1
            names[i] = f"{name}#{numbers[name]}"
    return names
