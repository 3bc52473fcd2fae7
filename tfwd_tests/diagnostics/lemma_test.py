"""Lemmas 1 and 2 and Equations 11 and 16 of Zhang et al. 2019.

Euler's theorem for a chain f without biases: J_x x = f and J_θ θ = n_L f.
"""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.diagnostics import fisher
from tfwd.diagnostics import gauss_newton
from tfwd.diagnostics import jacobian
from tfwd.diagnostics import metrics
from tfwd.diagnostics import outputs
from tfwd_tests.diagnostics import dense_jacobian
from tfwd_tests.diagnostics import homogeneous
from tfwd_tests.kfac import models
from tfwd_tests.kfac import reference

# Sums of about a hundred float64 products on both sides.
TOLERANCE = 1e-10


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def per_example(function, model, *data, loss="gaussian"):
    likelihood = outputs.likelihood_of(model, models.loss_of(loss))
    data = [keras.ops.convert_to_tensor(x) for x in data]
    return keras.ops.convert_to_numpy(function(model, *data, likelihood))


def assert_equal(actual, truth):
    assert models.error([actual], [truth]) < TOLERANCE


def squares(f):
    return np.sum(f**2, axis=1)


@pytest.mark.parametrize("name", homogeneous.CHAINS)
def test_derivatives_of_a_chain_along_inputs_and_weights_are_its_output(name):
    model, count = homogeneous.chain(name)
    x = models.normal(5, *model.input_shape[1:])
    f = dense_jacobian.outputs(model, x)
    along_x = np.einsum(
        "bki,bi->bk", dense_jacobian.of_inputs(model, x), x.reshape((5, -1))
    )
    along_theta = dense_jacobian.of_parameters(
        model, x
    ) @ dense_jacobian.parameters(model)
    assert_equal(along_x, f)
    assert_equal(along_theta, count * f)


def test_jacobian_of_a_chain_of_one_input_is_its_output_over_the_input():
    # J_x x = f, where x is a number.
    model = models.built(homogeneous.CHAINS["relu"][0](), (1,))
    x = models.normal(6, 1)
    f = dense_jacobian.outputs(model, x)
    found = per_example(jacobian.squared_norms, model, x)
    assert_equal(found * x[:, 0] ** 2, squares(f))


def test_a_shortcut_keeps_the_inputs_identity_and_breaks_the_weights():
    model = homogeneous.residual()
    x = models.normal(5, 4)
    first, second, third, last = dense_jacobian.values(model)
    hidden = np.maximum(x @ first, 0)
    total = hidden + np.maximum(hidden @ second, 0) @ third
    f = np.maximum(total, 0) @ last
    assert_equal(dense_jacobian.outputs(model, x), f)
    along_x = np.einsum("bki,bi->bk", dense_jacobian.of_inputs(model, x), x)
    assert_equal(along_x, f)
    # Of degree 4 through the branch; what takes the shortcut is of degree 2.
    shortcut = (hidden * (total > 0)) @ last
    found = per_example(gauss_newton.squared_norms, model, x)
    assert_equal(found, squares(4 * f - 2 * shortcut))


def test_biases_break_both_identities():
    model = models.built(
        [layers.Dense(6, activation="relu"), layers.Dense(3)], (1,)
    )
    x = models.normal(5, 1)
    first, first_bias, last, last_bias = dense_jacobian.values(model)
    hidden = np.maximum(x @ first + first_bias, 0)
    f = hidden @ last + last_bias
    assert_equal(dense_jacobian.outputs(model, x), f)
    # What the biases give f has no part in J_x x.
    from_biases = (first_bias * (hidden > 0)) @ last + last_bias
    found = per_example(jacobian.squared_norms, model, x)
    assert_equal(found * x[:, 0] ** 2, squares(f - from_biases))
    # The last bias is of degree 1, all the rest of f of degree 2.
    found = per_example(gauss_newton.squared_norms, model, x)
    assert_equal(found, squares(2 * f - last_bias))


def test_kfac_norm_of_every_layer_of_a_chain_at_one_datum_is_the_output():
    # Kronecker factors are exact there, and so is Equation 11, of ReLU
    # networks too: a norm n_L‖f‖² where the exact one is n_L²‖f‖² (Eq. 16).
    model, count = homogeneous.chain("relu")
    # A datum that some units of both hidden layers are active at.
    x = models.normal(1, 4, seed=3)
    expected = squares(dense_jacobian.outputs(model, x))
    loss = models.loss_of("gaussian")
    found = metrics.kfac_gauss_newton_norm(
        model, x, loss=loss, estimation="exact"
    )
    assert_equal(list(found.values()), np.full(count, expected))
    exact = metrics.gauss_newton_norm(model, x, loss=loss)
    assert_equal(exact.value, count**2 * expected[0])


def test_exact_norm_of_a_linear_network_of_whitened_inputs_is_the_jacobians():
    # What Theorem 1 says of the K-FAC norm of dense layers, with n_L² for n_L:
    # E‖J x‖² = ‖J‖² where E x xᵀ = I. Of convolutions and pooling too.
    model = models.built(
        [
            homogeneous.convolution(3),
            layers.AveragePooling2D(2, strides=1),
            layers.Flatten(),
            homogeneous.dense(2),
        ],
        (3, 3, 1),
    )
    x = np.sqrt(12) * np.linalg.qr(models.normal(12, 9))[0]
    x = x.reshape((12, 3, 3, 1))
    truth = np.sum(dense_jacobian.of_inputs(model, x[:1]) ** 2)
    loss = models.loss_of("gaussian")
    exact = metrics.gauss_newton_norm(model, x, loss=loss)
    assert_equal(exact.value, 4 * truth)
    of_jacobian = metrics.squared_jacobian_norm(model, x, loss=loss)
    assert_equal(of_jacobian.value, truth)


@pytest.mark.parametrize("name", ("relu", "max_pooling"))
def test_fisher_rao_norm_of_a_chain_is_the_variance_of_its_logits(name):
    # (J_θ θ)ᵀ (diag p − ppᵀ) J_θ θ, with J_θ θ = n_L f.
    model, count = homogeneous.chain(name)
    x = models.normal(5, *model.input_shape[1:])
    f = dense_jacobian.outputs(model, x)
    p = reference.softmax(f)
    mean = np.sum(p * f, axis=1, keepdims=True)
    variance = np.sum(p * (f - mean) ** 2, axis=1)
    found = per_example(fisher.squared_norms, model, x, loss="softmax")
    assert_equal(found, count**2 * variance)
    # The norm of the labels has it for its mean over labels of the model.
    every = [
        per_example(
            fisher.label_norms, model, x, np.full(5, label), loss="softmax"
        )
        for label in range(3)
    ]
    assert_equal(np.sum(p.T * every, axis=0), count**2 * variance)
