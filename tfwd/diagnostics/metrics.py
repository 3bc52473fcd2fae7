"""The mechanisms' quantities of a model on data, each in one call.

`data` is an array, a tuple (x, y) or (x, y, weights), a list of batches, or a
`tf.data.Dataset` of batches; `loss` a Keras loss, by default the compiled one.
A model that was made under a strategy is measured on all of its replicas. To
measure again and again, `streaming.Sums` compiles once.
"""

import typing

import keras
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.diagnostics import estimates
from tfwd.diagnostics import finiteness
from tfwd.diagnostics import fisher
from tfwd.diagnostics import gauss_newton
from tfwd.diagnostics import jacobian
from tfwd.diagnostics import kronecker_factors as curvature_lib
from tfwd.diagnostics import outputs
from tfwd.diagnostics import streaming


def squared_jacobian_norm(
    model: keras.Model,
    data: types.Data,
    *,
    loss: types.Loss | None = None,
    projections: int | None = None,
    of: typing.Literal["logits", "probabilities"] = "logits",
    seed: int = 0,
    batch_size: int = 250,
) -> estimates.Mean:
    """Returns E ‖J_x‖²_F over the data, a `Mean`.

    Args:
        model: A built Keras model with one float input.
        data: See above; labels are not read.
        loss: A Keras loss, which tells logits from probabilities.
        projections: None for the exact value, at a backpropagation per output,
            or how many random projections to average.
        of: "logits" or "probabilities".
        seed: Of the projections.
        batch_size: Examples per batch of arrays.

    References:
        Zhang et al. 2019, section 4.2. See `tfwd.diagnostics.jacobian`.
    """
    likelihood = outputs.likelihood_of(model, loss)
    jacobian.check(likelihood, projections, of)
    seed = arguments.check_integer("seed", seed, 0)

    def values(inputs, labels, first_example):
        del labels
        return jacobian.squared_norms(
            model,
            inputs,
            likelihood,
            projections=projections,
            of=of,
            examples=streaming.examples(inputs, first_example),
            seed=seed,
        )

    return _mean(model, values, streaming.batches_of(data, batch_size))


def gauss_newton_norm(
    model: keras.Model,
    data: types.Data,
    *,
    loss: types.Loss | None = None,
    batch_size: int = 250,
) -> estimates.Mean:
    """Returns θᵀGθ = E ‖J_θ θ‖² over the data, a `Mean`.

    Args:
        model: A built Keras model.
        data: See above; labels are not read.
        loss: A Keras loss, which tells logits from probabilities.
        batch_size: Examples per batch of arrays.

    References:
        Zhang et al. 2019, section 4.2.1. See `tfwd.diagnostics.gauss_newton`.
    """
    likelihood = outputs.likelihood_of(model, loss)

    def values(inputs, labels, first_example):
        del labels, first_example
        return gauss_newton.squared_norms(model, inputs, likelihood)

    return _mean(model, values, streaming.batches_of(data, batch_size))


def fisher_rao_norm(
    model: keras.Model,
    data: types.Data,
    *,
    loss: types.Loss | None = None,
    labels: bool = False,
    batch_size: int = 250,
) -> estimates.Mean:
    """Returns θᵀFθ over the data, a `Mean`.

    Args:
        model: A built Keras model.
        data: See above.
        loss: A Keras loss.
        labels: Whether to return E ⟨∂ℓ/∂z, J_θ θ⟩² of the data's labels
            instead, another quantity.
        batch_size: Examples per batch of arrays.

    References:
        Zhang et al. 2019, section 4.2.1; with labels, Liang et al. 2019. See
        `tfwd.diagnostics.fisher`.
    """
    likelihood = outputs.likelihood_of(model, loss)
    labels = arguments.check_boolean("labels", labels)

    def values(inputs, targets, first_example):
        del first_example
        if labels:
            return fisher.label_norms(model, inputs, targets, likelihood)
        return fisher.squared_norms(model, inputs, likelihood)

    batches = streaming.batches_of(data, batch_size)
    if labels:
        batches = streaming.labelled(batches)
    return _mean(model, values, batches, reads_labels=labels)


def kfac_gauss_newton_norm(
    model: keras.Model,
    data: types.Data,
    *,
    loss: types.Loss | None = None,
    estimation: types.Estimation = "exact",
    mode: types.Mode = "inference",
    seed: int = 0,
    batch_size: int = 250,
) -> dict[str, float]:
    """Returns {layer: tr(Wᵀ A W G)}, whose sum is the K-FAC norm θᵀGθ.

    Args:
        model: A built Keras model.
        data: See above; labels are not read.
        loss: A Keras loss, which tells logits from probabilities.
        estimation: "exact" or "sampled".
        mode: "inference" or "training", of batch normalization.
        seed: Of the sampled vectors.
        batch_size: Examples per batch of arrays.

    References:
        Zhang et al. 2019, section 4.2.1. See
        `tfwd.diagnostics.kronecker_factors`.
    """
    layers = _factors(
        model, data, "gauss_newton", loss, estimation, mode, seed, batch_size
    )
    return {layer.name: curvature_lib.kfac_norm(layer) for layer in layers}


def curvature_traces(
    model: keras.Model,
    data: types.Data,
    *,
    curvature: typing.Literal["fisher", "gauss_newton"] = "fisher",
    loss: types.Loss | None = None,
    estimation: types.Estimation = "exact",
    mode: types.Mode = "training",
    seed: int = 0,
    batch_size: int = 250,
) -> dict[str, float]:
    """Returns {layer: tr C(θ̂)}, of the curvature at normalized kernels.

    Args:
        model: A built Keras model.
        data: See above; labels are not read.
        curvature: "fisher" or "gauss_newton".
        loss: A Keras loss.
        estimation: "exact" or "sampled".
        mode: "training", where batch normalization takes the statistics of
            each batch and so leaves a kernel before it no scale, or
            "inference".
        seed: Of the sampled vectors, and of the signs that part the examples
            of a batch in mode "training".
        batch_size: Examples per batch of arrays.

    References:
        Zhang et al. 2019, Figure 7. See `tfwd.diagnostics.kronecker_factors`.
    """
    layers = _factors(
        model, data, curvature, loss, estimation, mode, seed, batch_size
    )
    return {
        layer.name: curvature_lib.normalized_trace(layer) for layer in layers
    }


def generalization_gap(
    model: keras.Model,
    train_data: types.Data,
    test_data: types.Data,
    loss: types.Loss | None = None,
    *,
    batch_size: int = 250,
) -> float:
    """Returns the mean loss on test data minus that on training data.

    Args:
        model: A built Keras model.
        train_data: (x, y), or batches with labels.
        test_data: As `train_data`.
        loss: A Keras loss, by default the compiled one.
        batch_size: Examples per batch of arrays.

    Raises:
        ValueError: If there are no labels.
    """
    likelihood = outputs.likelihood_of(model, loss)

    def values(inputs, labels, first_example):
        del first_example
        scores = outputs.with_predictions(outputs.raw(model, inputs))
        return ops.mean(likelihood.losses(scores, labels), axis=-1)

    both = {"train_data": train_data, "test_data": test_data}
    batches = {
        name: streaming.labelled(
            streaming.batches_of(data, batch_size, name), name
        )
        for name, data in both.items()
    }
    # Each program is compiled for its own data's shapes.
    train, test = (
        _mean(model, values, batches[name], reads_labels=True) for name in both
    )
    return test.value - train.value


def _mean(model, values, batches, reads_labels=False):
    """Returns the `Mean` of a function of (inputs, labels, first_example)."""

    def statistics(inputs, labels, weights, first_example):
        found = values(inputs, labels, first_example)
        read = (inputs, labels) if reads_labels else inputs
        undefined = finiteness.nan_unless_finite(model, read)
        found = ops.cast(found, undefined.dtype) + undefined
        return {"value": estimates.sums(found, weights)}

    sums = streaming.Sums(statistics, model).over(batches)
    return estimates.of_sums(*sums["value"])


def _factors(model, data, curvature, loss, estimation, mode, seed, batch_size):
    factors = curvature_lib.KroneckerFactors(
        model,
        outputs.likelihood_of(model, loss),
        curvature,
        estimation,
        mode,
        arguments.check_integer("seed", seed, 0),
    )
    sums = streaming.Sums(factors.statistics, model).over(
        streaming.batches_of(data, batch_size)
    )
    return factors.layers(sums)
