"""Which variables decay, by their place in the network.

| scope        | what decays                                               |
|--------------|-----------------------------------------------------------|
| `all`        | every trainable variable                                  |
| `normalized` | kernels and biases of the scale-invariant weight layers   |
| `final`      | kernels and biases of the last weight layers              |
| `none`       | nothing                                                   |

In a network with batch normalization behind each convolution, `normalized` is
the "wd-conv" of Zhang et al. 2019 (Figure 2) and `final` its "wd-fc". A layer
counts as scale-invariant if kernel and bias together are, since both decay; if
one of them is frozen, the kernel must be so by itself. The last weight layers
are those with no other weight layer between them and an output
of the model; a state that a model returns is an output.
"""

import keras

from tfwd import arguments
from tfwd import types
from tfwd.diagnostics.scale_invariance import graph as graph_lib
from tfwd.diagnostics.scale_invariance import kernels
from tfwd.diagnostics.scale_invariance import weight_layers
from tfwd.optimizers import selection

SCOPES = ("all", "normalized", "final", "none")


def patterns(model: keras.Model, scope: types.DecayScope) -> tuple[str, ...]:
    """Returns the patterns of the trainable variables outside a scope.

    ```python
    outside = decay_scope.patterns(model, "normalized")
    optimizer = tfwd.SGDS(0.1, 5e-4, exclude_from_weight_decay=outside)
    ```

    Args:
        model: A built Keras model, functional or sequential for the scopes
            `normalized` and `final`.
        scope: One of `SCOPES`.

    Returns:
        A tuple of regular expressions, each of which matches the path of one
        variable and no other.

    Raises:
        ValueError: If the scope is not known or selects nothing in the model,
            the model has no graph, or two variables, one in the scope and one
            outside, have the same path.
    """
    chosen = factors(model, scope)
    inside: list[str] = []
    outside: list[str] = []
    for variable, factor in zip(model.trainable_variables, chosen, strict=True):
        place = inside if factor else outside
        place.append(selection.exactly(variable))
    repeated = sorted(set(inside) & set(outside))
    if repeated:
        raise ValueError(
            "`model` must have different paths for variables that decay and "
            f"those that do not. Received: {repeated[0]} for both"
        )
    return tuple(dict.fromkeys(outside))


def factors(model: keras.Model, scope: types.DecayScope) -> tuple[float, ...]:
    """Returns 1.0 or 0.0 for each trainable variable of a model, in order.

    Args:
        model: A built Keras model, functional or sequential for the scopes
            `normalized` and `final`.
        scope: One of `SCOPES`.

    Raises:
        ValueError: If the scope is not known or selects nothing in the model,
            or the model has no graph.
    """
    arguments.check_model("model", model)
    arguments.check_choice("scope", scope, SCOPES)
    variables = model.trainable_variables
    if scope in ("all", "none"):
        return (float(scope == "all"),) * len(variables)
    graph = graph_lib.of_model(model)
    if graph is None:
        raise ValueError(
            "`model` must be a functional or sequential model for "
            f"scope={scope}. Received: model={model.name}"
        )
    if scope == "normalized":
        members = _normalized(model)
    else:
        members = _final(model, graph)
    chosen = {id(layer.kernel) for layer in members}
    chosen |= {id(layer.bias) for layer in members if layer.bias is not None}
    if not chosen:
        raise ValueError(
            "`scope` must select a weight layer of the model. "
            f"Received: scope={scope} for model={model.name}, which has none"
        )
    return tuple(float(id(variable) in chosen) for variable in variables)


def _normalized(model):
    return [
        found.weight_layer
        for found in kernels.of_model(model)
        if found.is_invariant or _is_invariant_as_it_decays(found)
    ]


def _is_invariant_as_it_decays(found):
    layer = found.weight_layer
    both = [v for v in (layer.kernel, layer.bias) if v is not None]
    return found.is_invariant_with_bias and all(v.trainable for v in both)


def _final(model, graph):
    layers = weight_layers.of_model(model)
    wanted, found = set(graph.outputs), []
    for call in reversed(graph.calls):
        if wanted.isdisjoint(call.outputs):
            continue
        here = [one for one in layers if id(one.kernel) in call.variables]
        found += here
        if not here:
            wanted |= set(call.inputs)
    return found
