"""Which kernels may be multiplied by any c > 0 without changing the network.

For such a kernel, L(c theta) = L(theta) and grad L(c theta) =
grad L(theta) / c: weight decay then acts through the effective learning rate
eta / ||theta||^2 alone (Zhang et al. 2019, Section 4.1).
"""

import collections
import collections.abc
import contextlib
import dataclasses

import keras
import numpy as np
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.diagnostics.scale_invariance import graph as graph_lib
from tfwd.diagnostics.scale_invariance import propagation
from tfwd.diagnostics.scale_invariance import weight_layers

_FACTOR = 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class ScaleInvariance:
    """Whether a factor of one kernel is undone, and by what.

    Attributes:
        weight_layer: The `weight_layers.WeightLayer`.
        is_invariant: Whether the graph shows that no output of the model
            changes in training mode, up to the epsilon of the normalizations;
            None if there is no graph around the layer: in a model that
            overrides `call`, or inside a layer like `keras.layers.LSTM`.
        normalizations: The `propagation.Normalization`s that undo the factor,
            wholly if `is_invariant`.
        is_invariant_with_bias: As `is_invariant`, where the bias, if there is
            one, and all kernels of the layer are multiplied too: layer
            normalization undoes a factor of both that it does not undo of the
            kernel alone.
    """

    weight_layer: weight_layers.WeightLayer
    is_invariant: bool | None
    normalizations: tuple[propagation.Normalization, ...]
    is_invariant_with_bias: bool | None


def of_model(model: keras.Model) -> list[ScaleInvariance]:
    """Returns for each weight layer whether its kernel is scale-invariant.

    Batch normalization counts only where it uses statistics of the batch, in
    training. A bias of the layer may stay: batch normalization subtracts it.

    Args:
        model: A built Keras model.

    Returns:
        A list of `ScaleInvariance` in the order of `weight_layers.of_model`.

    Raises:
        ValueError: If the model is not built.
    """
    arguments.check_model("model", model)
    graph = graph_lib.of_model(model)
    called = set()
    if graph is not None:
        called = {id(call.operation) for call in graph.calls}
    found, every = [], weight_layers.of_model(model)
    kernels = collections.Counter(id(one.layer) for one in every)
    for weight_layer in every:
        if id(weight_layer.layer) not in called:
            found.append(ScaleInvariance(weight_layer, None, (), None))
            continue
        alone = together = propagation.propagate(
            graph, weight_layer, with_bias=False
        )
        # Two kernels times c and a bias times c have two degrees: there each
        # kernel must be invariant whatever the bias is.
        if kernels[id(weight_layer.layer)] == 1:
            together = propagation.propagate(
                graph, weight_layer, with_bias=True
            )
        found.append(
            ScaleInvariance(
                weight_layer,
                alone.is_undone,
                alone.normalizations,
                # A kernel that is invariant beside a bias has one that is
                # subtracted, whatever its size.
                alone.is_undone or together.is_undone,
            )
        )
    return found


def confirm(
    model: keras.Model,
    found: collections.abc.Sequence[ScaleInvariance],
    inputs: types.ArrayLike,
) -> list[float]:
    """Measures how much the model's outputs change with each kernel.

    Runs the model in training mode as it is, and once for each kernel
    multiplied by 2, with epsilon multiplied by 4^d in each channel that a
    normalization of the `ScaleInvariance` undoes in degree d. The outputs of a
    scale-invariant layer are then equal but for rounding. The model is left as
    it was, moving statistics and random numbers included; all runs drop the
    same units. Costs one forward pass for each kernel, not compiled.

    Args:
        model: A built Keras model, called by nobody else in the meantime.
        found: A sequence of what `of_model` returned.
        inputs: A batch of inputs.

    Returns:
        A list of floats, max |change| / max |output| for each of `found`; of
        the output that changes most if there are several.
    """
    arguments.check_model("model", model)
    values = [(v, ops.convert_to_tensor(v.value)) for v in model.variables]
    before = _outputs(model, inputs, values)
    changes = []
    for one in found:
        kernel = one.weight_layer.kernel
        scaled = [
            (v, _FACTOR * value if v is kernel else value)
            for v, value in values
        ]
        with contextlib.ExitStack() as stack:
            for normalization in one.normalizations:
                stack.enter_context(_scaled_epsilon(*normalization))
            after = _outputs(model, inputs, scaled)
        # Not Python's maximum, which may pass over a NaN.
        changes.append(float(np.max([*map(_change, before, after)])))
    return changes


def _outputs(model, inputs, values):
    with keras.StatelessScope(values):
        outputs = model(inputs, training=True)
    return [
        ops.convert_to_numpy(x).astype("float64")
        for x in keras.tree.flatten(outputs)
    ]


def _change(before, after):
    # Outputs that are all 0 leave the absolute change, very large.
    largest = max(np.max(np.abs(before)), np.finfo("float32").tiny)
    return float(np.max(np.abs(after - before)) / largest)


@contextlib.contextmanager
def _scaled_epsilon(layer, degrees):
    epsilon = getattr(layer, "epsilon", None)
    if epsilon is None:
        # `UnitNormalization` has a bound instead, which does not act.
        yield
        return
    factors = _FACTOR ** (2.0 * degrees)
    if (factors == factors.flat[0]).all():
        layer.epsilon = epsilon * float(factors.flat[0])
    else:
        # Degrees differ in batch normalization of the last axis alone.
        layer.epsilon = ops.convert_to_tensor(
            epsilon * factors, layer.moving_variance.dtype
        )
    try:
        yield
    finally:
        layer.epsilon = epsilon
