"""The K-FAC norm and the traces where Kronecker factors are exact.

Covers `kronecker_factors`.
"""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.diagnostics import kronecker_factors
from tfwd.diagnostics import outputs
from tfwd.diagnostics import streaming
from tfwd_tests.diagnostics import differences
from tfwd_tests.kfac import models

# Sums of about a hundred float64 products.
TOLERANCE = 1e-12


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def factors(model, batches, likelihood="softmax", **options):
    """Returns {layer: LayerFactors}."""
    read = outputs.likelihood_of(model, models.loss_of(likelihood))
    estimator = kronecker_factors.KroneckerFactors(model, read, **options)
    sums = streaming.Sums(estimator.statistics, model).over(batches)
    return {layer.name: layer for layer in estimator.layers(sums)}


def linear_chain():
    return models.built(
        [
            layers.Dense(6, use_bias=False),
            layers.Dense(5, use_bias=False),
            layers.Dense(3, use_bias=False),
        ],
        (4,),
    )


def test_norm_of_a_linear_chain_is_that_of_its_outputs():
    model, x = linear_chain(), models.normal(7, 4)
    found = factors(model, [x[:5], x[5:]], curvature="gauss_newton")
    terms = [kronecker_factors.kfac_norm(layer) for layer in found.values()]
    truth = np.mean(np.sum(differences.outputs(model, x) ** 2, axis=-1))
    # Every layer has the same share: W₁ A W₁ᵀ ⊗ S is E ‖f‖² wherever it is cut.
    np.testing.assert_allclose(terms, [truth] * 3, rtol=TOLERANCE)


def test_norm_of_a_linear_chain_with_whitened_inputs_is_its_jacobians():
    # Zhang et al. 2019, Equation 11.
    model = linear_chain()
    x = np.linalg.qr(models.normal(9, 4))[0] * 3
    found = factors(model, [x], curvature="gauss_newton")
    product = np.linalg.multi_dot(
        [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    )
    total = sum(map(kronecker_factors.kfac_norm, found.values()))
    np.testing.assert_allclose(total, 3 * np.sum(product**2), rtol=TOLERANCE)


def test_norm_of_convolutions_under_positions_that_are_unrelated():
    # Factors take positions for independent. The signs of a Hadamard matrix
    # make them so, and then the norm of a linear chain is n_L E ‖f‖².
    model = models.built(
        [
            layers.Conv2D(4, 1, use_bias=False),
            layers.DepthwiseConv2D(1, depth_multiplier=2, use_bias=False),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, use_bias=False),
        ],
        (2, 2, 2),
    )
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1]])
    signs = np.vstack([signs, [1, -1, -1, 1]]).reshape((4, 2, 2, 1))
    x = np.concatenate([signs * one for one in models.normal(3, 2, 2, 2)])
    found = factors(model, [x], curvature="gauss_newton")
    f = differences.outputs(model, x)
    truth = np.mean(np.sum(f**2, axis=-1))
    conv, depthwise, dense = map(kronecker_factors.kfac_norm, found.values())
    np.testing.assert_allclose([conv, dense], [truth] * 2, rtol=TOLERANCE)
    # Of the depthwise layer a block is one channel's: no products of two.
    assert depthwise > 0


def dense_traces(model, likelihood, x, kind):
    """Returns ‖W‖² tr(Jᵀ H J) of every kernel."""
    jacobians = models.jacobians(model, x)
    h = models.hessians(model, likelihood, kind, x)
    found = {}
    for layer in model.layers:
        if layer.trainable_variables:
            kernel = layer.trainable_variables[0]
            j = jacobians[id(kernel)].reshape((*h.shape[:2], -1))
            trace = np.einsum("bki,bkl,bli->", j, h, j) / len(h)
            value = keras.ops.convert_to_numpy(kernel)
            found[layer.name] = np.sum(value**2) * trace
    return found


@pytest.mark.parametrize("kind", ("fisher", "gauss_newton"))
@pytest.mark.parametrize("likelihood", ("softmax", "sigmoid", "gaussian"))
def test_trace_of_one_datum_is_that_of_the_dense_matrix(likelihood, kind):
    model = models.built(
        [layers.Dense(5, activation="tanh"), layers.Dense(3)], (4,)
    )
    x = models.normal(1, 4)
    found = factors(model, [x], likelihood, curvature=kind)
    truth = dense_traces(model, likelihood, x, kind)
    assert list(found) == [layer.name for layer in model.layers]
    for name, layer in found.items():
        assert layer.has_bias
        np.testing.assert_allclose(
            kronecker_factors.normalized_trace(layer),
            truth[name],
            rtol=TOLERANCE,
        )


def test_trace_of_an_embedding_and_a_depthwise_convolution():
    embedding = models.built(
        [layers.Embedding(6, 4), layers.Flatten(), layers.Dense(3)], (1,)
    )
    depthwise = models.built(
        [
            layers.DepthwiseConv2D(2, depth_multiplier=2),
            layers.Flatten(),
            layers.Dense(3),
        ],
        (2, 2, 2),
    )
    for model, x in (
        (embedding, np.array([[3]])),
        (depthwise, models.normal(1, 2, 2, 2)),
    ):
        found = factors(model, [x], curvature="gauss_newton")
        truth = dense_traces(model, "softmax", x, "gauss_newton")
        for name, layer in found.items():
            np.testing.assert_allclose(
                kronecker_factors.normalized_trace(layer),
                truth[name],
                rtol=TOLERANCE,
            )


def test_norm_has_the_bias_in_it():
    # One datum, one output: tr(W̄ᵀ A W̄ G) is (Wᵀx + b)² of a single layer.
    model = models.built([layers.Dense(1)], (4,))
    x = models.normal(1, 4)
    (layer,) = factors(
        model, [x], "gaussian", curvature="gauss_newton"
    ).values()
    truth = differences.outputs(model, x)[0, 0] ** 2
    np.testing.assert_allclose(
        kronecker_factors.kfac_norm(layer), truth, rtol=TOLERANCE
    )


@pytest.mark.parametrize("kind", ("fisher", "gauss_newton"))
def test_trace_does_not_change_with_a_scale_that_has_no_effect(kind):
    # C(cθ) = C(θ)/c² before batch normalization in training mode.
    model = models.built(
        [
            layers.Dense(4, use_bias=False, name="first"),
            layers.BatchNormalization(epsilon=1e-15),
            layers.Activation("tanh"),
            layers.Dense(3),
        ],
        (5,),
    )
    x = models.normal(8, 5)
    read = outputs.likelihood_of(model, models.loss_of("softmax"))
    estimator = kronecker_factors.KroneckerFactors(
        model, read, curvature=kind, mode="training"
    )
    program = streaming.Sums(estimator.statistics, model)
    first, scale = model.layers[0].kernel, 3.0
    found = []
    for factor in (1.0, scale):
        first.assign(factor * first)
        layers_ = estimator.layers(program.over([x]))
        found.append({layer.name: layer for layer in layers_})
    before, after = (each["first"] for each in found)
    np.testing.assert_allclose(
        after.gradient_factor * scale**2, before.gradient_factor, rtol=1e-9
    )
    # As far as the normalization's ε of 1e-15 lets it.
    np.testing.assert_allclose(
        kronecker_factors.normalized_trace(after),
        kronecker_factors.normalized_trace(before),
        rtol=1e-9,
    )


def test_sampled_factors_tend_to_the_exact_ones():
    model = models.built(
        [layers.Dense(5, activation="tanh"), layers.Dense(3)], (4,)
    )
    copies = 4000
    x = np.repeat(models.normal(2, 4), copies, axis=0)
    # Two batches: their samples must not be the same.
    sampled = factors(model, [x[::2], x[1::2]], estimation="sampled")
    exact = factors(model, [x])
    for name, layer in exact.items():
        error = np.linalg.norm(
            sampled[name].gradient_factor - layer.gradient_factor
        ) / np.linalg.norm(layer.gradient_factor)
        # A few times 1/√8000; and not as if nothing had been sampled.
        assert 1e-4 < error < 0.05


def test_examples_that_fill_up_a_batch_count_for_nothing():
    model = models.built(
        [layers.Dense(5, activation="tanh"), layers.Dense(3)], (4,)
    )
    x, weights = models.normal(6, 4), np.array([1.0, 0, 1, 1, 0, 0])
    padded = factors(
        model, [(x[:2], None, weights[:2]), (x[2:], None, weights[2:])]
    )
    for name, layer in factors(model, [x[weights > 0]]).items():
        for factor in ("input_factor", "gradient_factor"):
            np.testing.assert_allclose(
                getattr(padded[name], factor),
                getattr(layer, factor),
                rtol=TOLERANCE,
                atol=1e-14,
            )


def test_layers_without_factors_are_left_out():
    model = models.built(
        [layers.LSTM(3), layers.LayerNormalization(), layers.Dense(2)], (4, 2)
    )
    x = models.normal(3, 4, 2)
    assert list(factors(model, [x])) == [model.layers[-1].name]
    none = models.built([layers.LSTM(3)], (4, 2))
    with pytest.raises(ValueError, match="a layer with Kronecker factors"):
        factors(none, [x])
    with pytest.raises(ValueError, match="`curvature` must be one of"):
        factors(model, [x], curvature="empirical")
    with pytest.raises(ValueError, match="`estimation` must be one of"):
        factors(model, [x], estimation="none")
