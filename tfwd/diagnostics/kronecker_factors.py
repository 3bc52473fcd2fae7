"""Kronecker factors of weight layers over a data set, and what they say.

A layer's curvature is approximated by C ≈ A ⊗ G, as `tfwd.kfac` does it, but
averaged over the data at fixed weights, without damping and of scale 1. G is
summed over the layer's positions. Dropout is off. Batch normalization has two
modes:

* `"training"`: the statistics of each batch (of a replica's part, unless they
  are synchronized), as in the paper. A kernel before it has no scale then, and
  C(cθ) = C(θ)/c². The factors depend on how examples are batched, and a last,
  smaller batch has statistics of its own. Examples of weight 0 are not in the
  statistics; beside them those are a replica's own, synchronized or not. A
  frozen layer keeps its averages.
* `"inference"`: its moving averages, as for predictions; kernels have a scale.

Both are the same without batch normalization.

References:
    Zhang et al. 2019, sections 4.2.1 and 4.3. The diagnosis of Figure 7 takes
    C at normalized weights, C(θ̂) = ‖θ‖² C(θ) for a layer whose scale has no
    effect (Equations 13 and 14).
"""

import contextlib
import dataclasses

import keras
import numpy as np
from keras import ops

from tfwd import arguments
from tfwd.diagnostics import finiteness
from tfwd.diagnostics import learning_rates
from tfwd.diagnostics.scale_invariance import weight_layers
from tfwd.kfac import capture
from tfwd.kfac import curvature as curvature_lib
from tfwd.kfac import registration
from tfwd.kfac.blocks import kronecker

CURVATURES = ("fisher", "gauss_newton")
MODES = ("training", "inference")


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
    return learning_rates.squared_norm(w) * float(np.sum(traces))


class KroneckerFactors:
    """Estimates A and G of the weight layers of a model, with `streaming.Sums`.

    Layers without Kronecker factors in `tfwd.kfac` (recurrent ones, for one)
    are left out.

    Args:
        model: A built Keras model.
        likelihood: What `outputs.likelihood_of` returned.
        curvature: "fisher" or "gauss_newton".
        estimation: "exact", one backpropagation per output and prediction, or
            "sampled", one per example.
        mode: "training" or "inference", of batch normalization.
        seed: Seed of the sampled vectors, a function of it and the number of
            the example.

    Raises:
        ValueError: If an argument is not valid, or no layer has factors.
    """

    def __init__(
        self,
        model,
        likelihood,
        curvature="fisher",
        estimation="exact",
        mode="inference",
        seed=0,
    ):
        arguments.check_choice("curvature", curvature, CURVATURES)
        arguments.check_choice(
            "estimation", estimation, curvature_lib.ESTIMATIONS
        )
        arguments.check_choice("mode", mode, MODES)
        self._model = model
        self._likelihood = likelihood
        self._curvature = curvature_lib.Curvature(
            curvature, estimation, 1.0, seed
        )
        normalizations = [
            layer
            for layer in capture.layers_of(model)
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        self._normalizations = normalizations if mode == "training" else []
        # Moving averages that the statistics of the batch stand in for.
        self._unused = [
            variable
            for layer in self._normalizations
            if layer.trainable
            for variable in layer.non_trainable_variables
        ]
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
        hooked = [*(block.layer for block in blocks), *self._normalizations]
        for layer in hooked:
            capture.install(layer, owner)
        in_mode = contextlib.nullcontext()
        if self._normalizations:
            in_mode = capture.batch_statistics(ops.not_equal(weights, 0))
        try:
            with in_mode:
                estimates = curvature_lib.estimate(
                    self._curvature,
                    self._model,
                    self._likelihood,
                    blocks,
                    inputs,
                    sample_weight=weights,
                    first_example=first_example,
                    training=False,
                )
        finally:
            for layer in hooked:
                capture.remove(layer, owner)
        # An estimate is a mean over all replicas: A over what weights leave,
        # G over all examples. The local share of its count makes it a sum.
        kept = ops.sum(weights)
        size = ops.shape(weights)[0]
        undefined = finiteness.nan_unless_finite(
            self._model, inputs, spared=self._unused
        )
        undefined = ops.where(ops.equal(weights, 0), 0.0, undefined)
        count = kept + ops.sum(ops.cast(undefined, kept.dtype))
        sums = {self._key("count"): count}
        for name, estimate in zip(self._blocks, estimates, strict=True):
            a, g = estimate.factors
            share = ops.cast(kept, a.dtype)
            # The mean of no example at all is not a number, its sum is 0.
            sums[self._key(name, "A")] = ops.where(
                ops.equal(share, 0), ops.zeros_like(a), a * share
            )
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
