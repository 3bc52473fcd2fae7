"""Weights multiplied by constants that normalization undoes.

With kernel θ and bias b of a layer whose outputs are normalized, and c > 0,

```
θ ← c θ                 b ← c b
μ ← cᵈ μ                σ² ← c²ᵈ(σ² + ε) − ε
```

leaves the predictions as they are: what comes to a batch normalization is cᵈ
times what it was, with a degree d per channel, and so are its moving mean μ
and √(σ² + ε), in the units of the layer's ε. Layer, group and RMS
normalizations have no moving statistics; they undo c up to their ε.
"""

import dataclasses
import math
import typing

import keras
import numpy as np
from keras import ops

from tfwd import arguments
from tfwd.diagnostics.backend import copies
from tfwd.diagnostics.scale_invariance import kernels
from tfwd.diagnostics.scale_invariance import propagation
from tfwd.diagnostics.scale_invariance import weight_layers


@dataclasses.dataclass(frozen=True, eq=False)
class Rescalable:
    """A weight layer whose scale does not reach the model's outputs.

    Attributes:
        weight_layer: The `weight_layers.WeightLayer`.
        undone_by: The `propagation.Normalization`s that undo its scale.
    """

    weight_layer: weight_layers.WeightLayer
    undone_by: tuple


class Rescaled(typing.NamedTuple):
    """What `apply` did.

    Attributes:
        factors: {layer: c}.
        variables: Pairs of a variable and what it was multiplied by.
        not_absorbed: Names of the batch normalizations with a channel whose
            σ² would have become negative, and is 0 instead: cᵈ was below
            √(ε/(σ² + ε)). Their outputs in inference mode are smaller than
            before; in training mode they are so too, for the ε.
    """

    factors: dict
    variables: tuple
    not_absorbed: tuple


def of_model(model, names=None):
    """Returns {name: Rescalable} of weight layers of a built model.

    Args:
        model: A functional model.
        names: Of weight layers; None for all that are scale-invariant.

    Raises:
        ValueError: If a name is not of a weight layer, or of one whose scale
            the model's outputs show, or if there is no scale-invariant layer.
    """
    known = {each.name: each for each in weight_layers.of_model(model)}
    if names is None:
        names = [
            each.weight_layer.name
            for each in kernels.of_model(model)
            if each.is_invariant
        ]
        if not names:
            raise ValueError(
                "`model` must have a weight layer before a normalization. "
                f"Received: {model.name}, with {', '.join(known)}"
            )
    for name in names:
        if name not in known:
            raise ValueError(
                f"`layers` must be weight layers of {model.name}: "
                f"{', '.join(known)}. Received: {name!r}"
            )
    return {name: _rescalable(model, known[name]) for name in names}


def rescale(model, norms):
    """Gives weight layers other norms, and the model the same predictions.

    Kernel and bias of a layer are multiplied by c = norm / ‖kernel‖₂, and
    moving statistics follow, on every replica its own. Predictions change by
    rounding alone, but for the layers in `not_absorbed` and for the ε of
    normalizations without moving statistics. All is checked before anything
    is written. Slots of an optimizer are left alone; see `moment_scaling`.

    Args:
        model: A built functional model.
        norms: {layer: norm}, the ‖kernel‖₂ that each layer is to have.

    Returns:
        A `Rescaled`.

    Raises:
        ValueError: If a layer is not one that can be rescaled, or a factor is
            not finite and above 0.

    References:
        Zhang et al. 2019, Section 4.1 and Figure 4, whose text does not say
        what became of moving statistics.
    """
    return apply(of_model(model, norms).values(), norms)


def apply(layers, norms):
    """Gives `Rescalable` layers the norms of a {layer: norm}; see `rescale`."""
    layers = list(layers)
    factors = {
        layer.weight_layer.name: _factor(layer.weight_layer, norms)
        for layer in layers
    }
    # Two kernels of a layer share a bias, and two layers a normalization.
    weights, normalizations = {}, {}
    for layer in layers:
        c = factors[layer.weight_layer.name]
        for variable in (layer.weight_layer.kernel, layer.weight_layer.bias):
            if variable is not None:
                _, before = weights.get(id(variable), (variable, 1.0))
                weights[id(variable)] = variable, before * c
        for normalization, degrees in layer.undone_by:
            _, before = normalizations.get(id(normalization), (None, 1.0))
            scale = before * c ** np.asarray(degrees, "float64")
            normalizations[id(normalization)] = normalization, scale
    for variable, c in weights.values():
        copies.multiply(variable, c)
    not_absorbed = [
        normalization.name
        for normalization, scale in normalizations.values()
        if not _statistics_follow(normalization, scale)
    ]
    return Rescaled(factors, tuple(weights.values()), tuple(not_absorbed))


def rescaled_variance(variance, scale, epsilon):
    """Returns scale²(σ² + ε) − ε, and σ² itself where the scale is 1.

    Args:
        variance: σ² [channels], float64.
        scale: [channels].
        epsilon: ε.
    """
    moved = scale**2 * (variance + epsilon) - epsilon
    return np.where(scale == 1, variance, moved)


def _statistics_follow(normalization, scale):
    """Rescales moving statistics; tells whether they could take ε in."""
    if not isinstance(normalization, keras.layers.BatchNormalization):
        return True
    for copy in copies.of(normalization.moving_mean):
        _assign(copy, _array(copy) * scale)
    lowest = []
    for copy in copies.of(normalization.moving_variance):
        moved = rescaled_variance(_array(copy), scale, normalization.epsilon)
        _assign(copy, np.maximum(moved, 0))
        lowest.append(moved.min())
    return min(lowest) >= 0


def _rescalable(model, weight_layer):
    undone_by = propagation.undone_by(model, weight_layer)
    if undone_by is None:
        raise ValueError(
            "`layers` must be layers whose scale normalization undoes. "
            f"Received: {weight_layer.name!r}, whose scale the outputs of "
            f"{model.name} may show"
        )
    return Rescalable(weight_layer, tuple(undone_by))


def _factor(weight_layer, norms):
    name = weight_layer.name
    reference = norms[name]
    arguments.check_positive(f"norms[{name!r}]", reference)
    norm = float(np.linalg.norm(_array(weight_layer.kernel)))
    factor = float(reference / norm) if norm else math.inf
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(
            "`norms` must be finite multiples above 0 of those that the "
            f"layers have. Received: {reference} for {name!r} with {norm}"
        )
    return factor


def _array(variable):
    return ops.convert_to_numpy(variable).astype("float64")


def _assign(copy, values):
    copy.assign(values.astype(keras.backend.standardize_dtype(copy.dtype)))
