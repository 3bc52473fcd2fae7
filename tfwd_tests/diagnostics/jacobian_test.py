"""The squared Jacobian norm against numpy, and its random estimate.

Covers `estimates` and `outputs`.
"""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.diagnostics import estimates
from tfwd.diagnostics import jacobian
from tfwd.diagnostics import outputs
from tfwd_tests.diagnostics import differences
from tfwd_tests.kfac import models
from tfwd_tests.kfac import reference

# Sums of about a hundred float64 products.
TOLERANCE = 1e-12


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def tanh_network(activation=None):
    return models.built(
        [
            layers.Dense(5, activation="tanh"),
            layers.Dense(3, activation=activation),
        ],
        (4,),
    )


def numpy_jacobians(model, x):
    """Returns J [batch, 3, 4] and z of `tanh_network`, by the chain rule."""
    w, b, v, c = map(
        keras.ops.convert_to_numpy, (p.value for p in model.variables)
    )
    hidden = np.tanh(x @ w + b)
    slopes = 1 - hidden**2
    return np.einsum("jk,bj,ij->bki", v, slopes, w), hidden @ v + c


def norms(model, x, likelihood="softmax", from_logits=True, **options):
    likelihood = outputs.likelihood_of(
        model, models.loss_of(likelihood, from_logits)
    )
    found = jacobian.squared_norms(model, x, likelihood, **options)
    return keras.ops.convert_to_numpy(found)


def squares(jacobians):
    return np.sum(jacobians**2, axis=(1, 2))


def test_exact_norm_of_a_perceptron_is_that_of_the_chain_rule():
    model, x = tanh_network(), models.normal(6, 4)
    truth, _ = numpy_jacobians(model, x)
    np.testing.assert_allclose(norms(model, x), squares(truth), rtol=TOLERANCE)


def test_exact_norm_of_a_convolutional_network_in_inference_mode():
    model = models.built(
        [
            layers.Conv2D(3, 2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.DepthwiseConv2D(2, activation="tanh"),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ],
        (4, 4, 2),
    )
    model.layers[1].moving_variance.assign([0.5, 2.0, 3.0])
    x = models.normal(3, 4, 4, 2)
    truth = squares(differences.input_jacobians(model, x))
    np.testing.assert_allclose(
        norms(model, x), truth, rtol=differences.TOLERANCE
    )


@pytest.mark.parametrize("likelihood", ("softmax", "sigmoid"))
def test_logits_of_a_model_of_probabilities_are_found(likelihood):
    x = models.normal(6, 4)
    expected = norms(tanh_network(), x, likelihood)
    fused = tanh_network(likelihood)
    found = norms(fused, x, likelihood, from_logits=False)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)
    assert all("call" not in vars(layer) for layer in fused.layers)
    stacked = keras.Sequential([*tanh_network().layers])
    stacked.add(layers.Activation(likelihood))
    found = norms(stacked, x, likelihood, from_logits=False)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


@pytest.mark.parametrize("from_logits", (True, False))
def test_norm_of_probabilities_has_the_derivative_of_the_softmax(from_logits):
    x = models.normal(6, 4)
    jacobians, z = numpy_jacobians(tanh_network(), x)
    truth = reference.output_hessian("softmax", "fisher", z) @ jacobians
    model = tanh_network(None if from_logits else "softmax")
    found = norms(model, x, from_logits=from_logits, of="probabilities")
    np.testing.assert_allclose(found, squares(truth), rtol=TOLERANCE)


def test_estimate_is_unbiased_and_of_the_known_variance():
    # Many examples that are all the same, each with signs of its own.
    model, count, projections = tanh_network(), 20000, 2
    x = models.normal(1, 4)
    jacobians, _ = numpy_jacobians(model, x)
    gram = jacobians[0] @ jacobians[0].T
    truth = np.trace(gram)
    variance = 2 * (np.sum(gram**2) - np.sum(np.diag(gram) ** 2)) / projections
    found = norms(model, np.repeat(x, count, axis=0), projections=projections)
    assert abs(np.mean(found) - truth) < 4 * np.sqrt(variance / count)
    # With two outputs' worth of kurtosis, a few times 1/√count at the most.
    assert abs(np.var(found) / variance - 1) < 0.05


def test_reported_error_is_the_spread_of_means_over_examples_and_signs():
    model, passes, batch = tanh_network(), 400, 50
    generator = np.random.default_rng(1)
    x = generator.normal(size=(passes * batch, 4))
    values = norms(model, x, projections=1).reshape((passes, batch))
    means = [
        estimates.of_sums(*keras.ops.convert_to_numpy(sums))
        for sums in (estimates.sums(v, np.ones(batch)) for v in values)
    ]
    spread = np.std([mean.value for mean in means], ddof=1)
    reported = np.sqrt(np.mean([mean.standard_error**2 for mean in means]))
    # A standard deviation of 400 is known to 3.5 %.
    assert abs(reported / spread - 1) < 0.15
    truth, _ = numpy_jacobians(model, x)
    exact = np.mean(squares(truth))
    assert abs(np.mean(values) - exact) < 4 * spread / np.sqrt(passes)


def test_signs_are_a_function_of_the_examples_number():
    model, x = tanh_network(), models.normal(6, 4)
    every = norms(model, x, projections=2, seed=3)
    part = norms(model, x[4:], projections=2, seed=3, examples=np.array([4, 5]))
    np.testing.assert_allclose(part, every[4:], rtol=TOLERANCE)
    for other in ({"seed": 4}, {"seed": 3, "step": 1}):
        assert not np.allclose(norms(model, x, projections=2, **other), every)


def test_every_prediction_of_a_sequence_counts():
    model, x = tanh_network(), models.normal(2, 3, 4)
    truth, _ = numpy_jacobians(model, x.reshape((6, 4)))
    sequence = keras.Sequential([keras.Input((3, 4)), *model.layers])
    expected = squares(truth).reshape((2, 3)).sum(axis=1)
    np.testing.assert_allclose(norms(sequence, x), expected, rtol=TOLERANCE)


def test_refusals():
    model, x = tanh_network(), models.normal(2, 4)
    with pytest.raises(ValueError, match="must be one float tensor"):
        norms(model, np.zeros((2, 4), "int32"))
    with pytest.raises(ValueError, match="must be one float tensor"):
        norms(model, [x, x])
    with pytest.raises(ValueError, match="`of` must be one of"):
        norms(model, x, of="outputs")
    with pytest.raises(ValueError, match="`projections` must be an integer"):
        norms(model, x, projections=0)
    with pytest.raises(ValueError, match="`of` must be logits"):
        norms(model, x, "gaussian", of="probabilities")
    with pytest.raises(ValueError, match="own activation is softmax"):
        norms(model, x, from_logits=False)
    with pytest.raises(ValueError, match="`loss` must be given"):
        outputs.likelihood_of(model)
    with pytest.raises(ValueError, match="`loss` must be one categorical"):
        outputs.likelihood_of(model, "mae")
    several = keras.Model(model.inputs, [model.outputs[0], model.outputs[0]])
    with pytest.raises(ValueError, match="must have one output"):
        norms(several, x)
