"""Kronecker factors of weight layers over a data set, and what they say.

A layer's curvature is approximated by C ≈ A ⊗ G, as `tfwd.kfac` does it, but
averaged over the data at fixed weights, without damping and of scale 1. G is
summed over the layer's positions. The model runs in inference mode by default:
then the factors do not depend on how examples are batched. In training mode
batch normalization takes the statistics of each batch, or part of one.

References:
    Zhang et al. 2019, sections 4.2.1 and 4.3. The diagnosis of Figure 7 takes
    C at normalized weights, C(θ̂) = ‖θ‖² C(θ) for a layer whose scale has no
    effect.
"""

import dataclasses

import numpy as np
from keras import ops

from tfwd.diagnostics import backends
from tfwd.diagnostics import weight_layers
from tfwd.kfac import capture
from tfwd.kfac import curvature as curvature_lib
from tfwd.kfac import registration
from tfwd.kfac.blocks import kronecker
from tfwd.optimizers import arguments

CURVATURES = ("fisher", "gauss_newton")


@dataclasses.dataclass(frozen=True)
class LayerFactors:
    """The factors of one weight layer, float64 arrays.

    Attributes:
        name: The layer's name, that of its `weight_layers.WeightLayer`.
        input_factor: A, [(groups,) n, n], with the coordinate of the bias last
            if there is one; only its diagonal, [n], for an embedding.
        gradient_factor: G, [(groups,) m, m].
        weights: W, [(groups,) n, m], the bias as last row.
        has_bias: Whether there is a bias.
    """

    name: str
    input_factor: np.ndarray
    gradient_factor: np.ndarray
    weights: np.ndarray
    has_bias: bool


def kfac_norm(layer_factors):
    """Returns θᵀ(A ⊗ G)θ = tr(Wᵀ A W G) of one layer, with its bias.

    Summed over the layers of a linear chain without biases this is n_L E ‖z‖²,
    and n_L ‖J_x‖²_F if E[x xᵀ] = I (Zhang et al. 2019, Equation 11).
    """
    a, w = layer_factors.input_factor, layer_factors.weights
    aw = a[:, None] * w if a.ndim == 1 else a @ w
    return float(np.sum(aw * (w @ layer_factors.gradient_factor)))


def normalized_trace(layer_factors):
    """Returns ‖θ‖² tr(A) tr(G), the trace of C at the normalized kernel.

    The bias is left out, of θ and of A.
    """
    a, w = layer_factors.input_factor, layer_factors.weights
    if layer_factors.has_bias:
        a, w = a[..., :-1, :-1], w[..., :-1, :]
    of_inputs = np.sum(a) if a.ndim == 1 else _traces(a)
    traces = of_inputs * _traces(layer_factors.gradient_factor)
    return float(np.sum(np.square(w)) * np.sum(traces))


class KroneckerFactors:
    """Estimates A and G of the weight layers of a model, with `streaming.Sums`.

    Layers without Kronecker factors in `tfwd.kfac` (recurrent ones, for one)
    are left out.

    Args:
        model: A built Keras model.
        head: What `outputs.head_of` returned.
        curvature: "fisher" or "gauss_newton".
        estimation: "exact", one backpropagation per output and prediction, or
            "sampled", one per example.
        training: Whether the model runs in training mode.
        seed: Of the sampled vectors, a function of it and the number of the
            example.

    Raises:
        ValueError: If an argument is not valid, or no layer has factors.
    """

    def __init__(
        self,
        model,
        head,
        curvature="fisher",
        estimation="exact",
        training=False,
        seed=0,
    ):
        arguments.check_choice("curvature", curvature, CURVATURES)
        arguments.check_choice(
            "estimation", estimation, curvature_lib.ESTIMATIONS
        )
        self._model = model
        self._head = head
        self._curvature = curvature_lib.Curvature(
            curvature, estimation, 1.0, seed
        )
        self._training = training
        blocks, _ = registration.of_model(model, "sgd", "factored")
        by_kernel = {
            id(block.variables[0]): block
            for block in blocks
            if isinstance(block, kronecker.KroneckerBlock)
        }
        self._blocks = {
            layer.name: by_kernel[id(layer.kernel)]
            for layer in weight_layers.of_model(model)
            if id(layer.kernel) in by_kernel
        }
        if not self._blocks:
            raise ValueError(
                "`model` must have a layer with Kronecker factors (Dense, "
                "EinsumDense, Conv, Embedding). "
                f"Received: {model.name}, with none"
            )

    def statistics(self, inputs, labels, weights, first_example):
        """Returns sums over a replica's examples; see `streaming`.

        Names are tuples of strings that begin with the curvature.
        """
        del labels
        blocks = list(self._blocks.values())
        owner = object()
        for block in blocks:
            capture.install(block.layer, owner)
        try:
            estimates = curvature_lib.estimate(
                backends.kfac,
                self._curvature,
                self._model,
                self._head,
                blocks,
                inputs,
                sample_weight=weights,
                first_example=first_example,
                training=self._training,
            )
        finally:
            for block in blocks:
                capture.remove(block.layer, owner)
        # An estimate is a mean over all replicas: A over what weights leave,
        # G over all examples. The local share of its count makes it a sum.
        kept = ops.sum(weights)
        size = ops.shape(weights)[0]
        sums = {self._key("count"): kept}
        for name, estimate in zip(self._blocks, estimates, strict=True):
            a, g = estimate.factors
            sums[self._key(name, "A")] = a * ops.cast(kept, a.dtype)
            sums[self._key(name, "G")] = g * ops.cast(size, g.dtype)
        return sums

    def layers(self, sums):
        """Returns a `LayerFactors` per layer.

        Args:
            sums: What `streaming.Sums` made of `statistics`.
        """
        count = sums[self._key("count")]
        return [
            LayerFactors(
                name,
                sums[self._key(name, "A")] / count,
                sums[self._key(name, "G")] / count,
                _matrix(block),
                block.has_bias,
            )
            for name, block in self._blocks.items()
        ]

    def _key(self, *parts):
        return (self._curvature.kind, *parts)


def _traces(matrices):
    return np.trace(matrices, axis1=-2, axis2=-1)


def _matrix(block):
    values = [capture.stored_value(variable) for variable in block.variables]
    return np.asarray(
        ops.convert_to_numpy(block.to_matrix(values)), dtype="float64"
    )
