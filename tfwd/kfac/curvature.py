"""One curvature pass: from a batch to the factors that it estimates.

The model runs, in training mode by default, under a `StatelessScope`: nothing
of it changes, and a dropout mask is that of the next step. Vectors are
backpropagated from its output to every pre-activation; with C the block of a
layer,

```
C = Jᵀ H J, averaged over examples and predictions,   C ≈ A ⊗ G
A = Σ a aᵀ/rows          a: a layer's input and 1, at every example and position
G = Σ g gᵀ/predictions   g: vectors of covariance H, backpropagated
```

The loss that `fit` differentiates never enters: Keras scales it by batch size,
replicas and loss scale.
"""

import dataclasses
import math
import typing

import keras
from keras import ops

from tfwd import types
from tfwd.kfac import backend
from tfwd.kfac import capture
from tfwd.kfac import recording
from tfwd.kfac import sampling
from tfwd.kfac.blocks import block as block_lib

CURVATURES = typing.get_args(types.Curvature)
ESTIMATIONS = typing.get_args(types.Estimation)


@dataclasses.dataclass(frozen=True)
class Curvature:
    """Which matrix is estimated, and how.

    Attributes:
        kind: "fisher", "gauss_newton" or "empirical".
        estimation: "sampled" (one vector per example) or "exact" (one per
            output and prediction).
        scale: What multiplies the matrix.
        seed: Seed of the sampled vectors.
    """

    kind: str
    estimation: str
    scale: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The factors of one block, from one batch over all replicas.

    Attributes:
        factors: A tensor per factor.
        positions: Positions per example, a scalar.
    """

    factors: tuple
    positions: object


def estimate(
    curvature,
    model,
    likelihood,
    blocks,
    inputs,
    *,
    targets=None,
    sample_weight=None,
    step=0,
    first_example=0,
    training=True,
):
    """Estimates the factors of all blocks on a batch.

    Args:
        curvature: A `Curvature`.
        model: The model whose layers the blocks are of.
        likelihood: A `likelihoods.Likelihood`.
        blocks: The blocks.
        inputs: Inputs of the model, of this replica.
        targets: Labels, for the empirical Fisher.
        sample_weight: None, or weights of the examples, [batch], or of their
            predictions: the curvature is then that of the weighted loss. What
            an example of weight 0 holds does not count, NaN included.
        step: The step, an int scalar; with the seed and the global index of an
            example it determines the sampled vectors.
        first_example: Global index of the first example of the batch over all
            replicas.
        training: Whether the model runs in training mode, or else inference.

    Returns:
        An `Estimate` per block.

    Raises:
        ValueError: If a layer with a block was not called, or logits are
            needed and not found.
    """
    run = recording.Run(
        model,
        blocks,
        likelihood,
        needs_logits=curvature.kind == "gauss_newton",
        training=training,
    )
    size = ops.shape(keras.tree.flatten(inputs)[0])[0]
    examples = ops.arange(size, dtype="int32") + ops.cast(
        first_example + backend.current.first_example(size), "int32"
    )
    draw = (examples, step, curvature.seed)
    dtype = blocks[0].dtype
    if sample_weight is not None:
        sample_weight = ops.cast(sample_weight, dtype)
        # Without a -1, which an empty batch leaves undetermined.
        width = math.prod(ops.shape(sample_weight)[1:])
        sample_weight = ops.reshape(sample_weight, (size, width, 1))

    def vectors_at(tensor, recorded):
        z = _with_predictions(ops.cast(tensor, dtype))
        vectors = _vectors(curvature, likelihood, z, draw, targets)
        if curvature.estimation == "exact" and (
            training or capture.uses_batch_statistics()
        ):
            # Batch normalization lets every example's output depend on all of
            # them. Signs of the examples take their products out; alone, the
            # vectors of one output for all of them would even cancel.
            signs = sampling.signs(*draw, 1)[..., None]
            vectors = [ops.cast(signs, v.dtype) * v for v in vectors]
        factor = curvature.scale**0.5 * _mask(recorded.output_mask, z)
        if sample_weight is not None:
            factor = factor * ops.sqrt(sample_weight)
        vectors = [factor * v for v in vectors]
        if sample_weight is not None:
            counts = ops.broadcast_to(sample_weight > 0, ops.shape(z))
            vectors = [_where(counts, v) for v in vectors]
        return [
            ops.cast(ops.reshape(v, ops.shape(tensor)), tensor.dtype)
            for v in vectors
        ]

    recorded, gradients = backend.current.output_gradients(
        lambda connect: run(inputs, connect), vectors_at
    )
    example_weights = None
    if sample_weight is not None:
        example_weights = ops.mean(sample_weight, axis=(1, 2))
    calls = {id(block): [] for block in blocks}
    for block, features, mask, each in zip(
        run.called, recorded.features, recorded.masks, gradients, strict=True
    ):
        if example_weights is not None:
            # NaN times a weight of 0 is NaN.
            features, *each = (
                _of_examples(example_weights > 0, x) for x in (features, *each)
            )
        calls[id(block)].append(
            block_lib.Call(features, tuple(each), example_weights, mask)
        )
    for block in blocks:
        if not calls[id(block)]:
            raise ValueError(
                "Every layer that KFAC is attached to must be called by the "
                "model; attach again after a change of layers. Received: "
                f"{block.layer.name}, not called"
            )
    return _over_replicas(blocks, calls, ops.cast(recorded.predictions, dtype))


def _vectors(curvature, likelihood, z, draw, targets):
    """Returns the vectors of each prediction, like z, to backpropagate."""
    predictions = z.shape[1]
    if curvature.kind == "empirical":
        vectors = [_of_labels(likelihood, z, targets)]
        if curvature.estimation == "sampled" and predictions != 1:
            # Each prediction is a datum: signs take the products of two out.
            signs = sampling.signs(*draw, ops.shape(z)[1])
            vectors = [vectors[0] * ops.cast(signs[..., None], z.dtype)]
    elif curvature.kind == "fisher":
        if curvature.estimation == "sampled":
            return [likelihood.sampled_fisher(z, *draw)]
        vectors = likelihood.exact_fisher(z)
    else:
        if curvature.estimation == "sampled":
            return [likelihood.sampled_gauss_newton(z, *draw)]
        vectors = likelihood.exact_gauss_newton(z)
    if curvature.estimation == "sampled" or predictions == 1:
        return vectors
    one_by_one = ops.eye(predictions, dtype=z.dtype)
    return [
        vector * ops.expand_dims(one_by_one[position], -1)
        for position in range(predictions)
        for vector in vectors
    ]


def _of_labels(likelihood, z, targets):
    """Returns the gradients of the losses of the true labels."""
    if targets is None:
        raise ValueError(
            "curvature='empirical' needs the labels: "
            "`update_factors(inputs, targets)`. Received: targets=None"
        )
    return backend.current.gradient_of(
        lambda z: ops.sum(likelihood.losses(z, targets)), z
    )


def _with_predictions(tensor):
    """Returns [batch, ..., outputs] as [batch, predictions, outputs]."""
    shape = ops.shape(tensor)
    return ops.reshape(tensor, (shape[0], math.prod(shape[1:-1]), shape[-1]))


def _where(counts, tensor):
    """Returns a tensor with 0 where it does not count, whatever it holds."""
    return ops.where(counts, tensor, ops.zeros_like(tensor))


def _of_examples(counts, tensor):
    """Returns `_where` for booleans of the examples, [batch]."""
    counts = ops.reshape(counts, (-1, *(1,) * (len(tensor.shape) - 1)))
    return _where(counts, tensor)


def _mask(mask, z):
    """Returns a mask of predictions as [batch, predictions, 1], or 1."""
    if mask is None:
        return 1.0
    return ops.cast(ops.reshape(mask, (*ops.shape(z)[:2], 1)), z.dtype)


def _over_replicas(blocks, calls, predictions):
    """Divides the sums over all replicas by their counts."""
    sums, counts = [], [predictions]
    for block in blocks:
        for name, (total, count) in zip(
            block.factor_names, block.statistics(calls[id(block)]), strict=True
        ):
            sums.append(total)
            if name == "A":
                counts.append(ops.cast(count, predictions.dtype))
    *sums, counts = backend.current.sum_over_replicas(
        [*sums, ops.stack(counts)]
    )
    remaining, rows = iter(sums), iter(range(1, len(calls) + 1))
    estimates = []
    for block in blocks:
        factors = []
        for name in block.factor_names:
            count = counts[next(rows) if name == "A" else 0]
            total = next(remaining)
            factors.append(total / ops.cast(count, total.dtype))
        positions = block.positions(calls[id(block)])
        estimates.append(Estimate(tuple(factors), positions))
    return estimates
