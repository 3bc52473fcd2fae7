"""Equations 4, 18 and 19 of Zhang et al. 2019, and what 19 is for a Fisher."""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.diagnostics import fisher
from tfwd.diagnostics import gauss_newton
from tfwd.diagnostics import outputs
from tfwd_tests.diagnostics import dense_jacobian
from tfwd_tests.diagnostics import homogeneous
from tfwd_tests.kfac import models
from tfwd_tests.kfac import reference

# Sums of about a hundred float64 products on both sides.
TOLERANCE = 1e-10
NORMS = {
    "gauss_newton": gauss_newton.squared_norms,
    "fisher": fisher.squared_norms,
}


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def per_example(function, model, x, loss):
    likelihood = outputs.likelihood_of(model, models.loss_of(loss))
    x = keras.ops.convert_to_tensor(x)
    return keras.ops.convert_to_numpy(function(model, x, likelihood))


def model_labels(likelihood, z):
    """Returns labels drawn from the model, [draws, batch, ...], and their law.

    All labels there are; of the normal distribution of variance K/2, whose
    −log p is Keras' mean squared error, 2K points of its mean and covariance:
    a gradient is linear in the label.
    """
    batch, size = z.shape
    if likelihood == "softmax":
        labels = np.tile(np.arange(size)[:, None], (1, batch))
        return labels, reference.softmax(z).T
    if likelihood == "sigmoid":
        bits = np.array(list(np.ndindex(*(2,) * size)), dtype="float64")
        labels = np.tile(bits[:, None], (1, batch, 1))
        p = reference.sigmoid(z)
        return labels, np.prod(np.where(labels, p, 1 - p), axis=-1)
    radius = np.sqrt(size * size / 2)
    points = radius * np.concatenate([np.eye(size), -np.eye(size)])
    return z + points[:, None], np.full((2 * size, batch), 1 / (2 * size))


@pytest.mark.parametrize("likelihood", ("softmax", "sigmoid", "gaussian"))
def test_fisher_matrix_is_the_generalized_gauss_newton_matrix(likelihood):
    # Equation 4: E_y[∇log p ∇log pᵀ] over labels of the model = Jᵀ H J.
    model = models.built(
        [layers.Dense(4, activation="tanh"), layers.Dense(2)], (3,)
    )
    x = models.normal(3, 3)
    z = dense_jacobian.outputs(model, x)
    labels, law = model_labels(likelihood, z)
    gradients = dense_jacobian.of_losses(
        model,
        models.loss_of(likelihood),
        np.tile(x, (len(labels), 1)),
        labels.reshape((-1, *labels.shape[2:])),
    ).reshape((*law.shape, -1))
    matrix = np.einsum("dbi,dbj,db->bij", gradients, gradients, law)
    if likelihood == "sigmoid":
        # Keras' loss is the mean of the −log p of K outputs; the curvature of
        # the mean is a K-th of the Fisher matrix, which is K² times this.
        matrix *= 2
    j = dense_jacobian.of_parameters(model, x)
    h = reference.output_hessian(likelihood, "fisher", z)
    assert models.error([matrix], [j.swapaxes(1, 2) @ h @ j]) < TOLERANCE
    theta = dense_jacobian.parameters(model)
    found = per_example(fisher.squared_norms, model, x, likelihood)
    truth = np.einsum("i,bij,j->b", theta, matrix, theta)
    assert models.error([found], [truth]) < TOLERANCE
    if likelihood == "gaussian":
        # ½‖y − f‖², whose H is the identity, is Keras' loss for K = 2.
        found = per_example(gauss_newton.squared_norms, model, x, likelihood)
        assert models.error([found], [truth]) < TOLERANCE


def slopes_of_norm(function, model, x, directions, change=1e-4):
    """Returns v·∇(θᵀCθ) for each v, by central differences."""
    variables = model.trainable_variables
    start = dense_jacobian.values(model)
    slopes = []
    for direction in directions:
        values = []
        for sign in (1, -1):
            for variable, value, part in zip(
                variables, start, direction, strict=True
            ):
                variable.assign(value + sign * change * part)
            values.append(np.mean(per_example(function, model, x, "softmax")))
        slopes.append((values[0] - values[1]) / (2 * change))
    for variable, value in zip(variables, start, strict=True):
        variable.assign(value)
    return np.array(slopes)


@pytest.mark.parametrize("curvature", NORMS)
def test_gradient_of_the_norm_of_a_chain(curvature):
    # Equation 19 is 2(L + 1)Gθ = 2 n_L Gθ: G depends on θ, so it is not the
    # 2Gθ of a quadratic form. It is of the Gauss-Newton matrix only: p, too,
    # depends on θ, and n_L² Jᵀ p∘((f − E f)² − Var f) is added to 2 n_L Fθ.
    model, count = homogeneous.chain("relu")
    x = models.normal(5, 4)
    f = dense_jacobian.outputs(model, x)
    j = dense_jacobian.of_parameters(model, x)
    h = reference.output_hessian("softmax", curvature, f)
    at_outputs = (
        2 * count * h @ (j @ dense_jacobian.parameters(model))[..., None]
    )
    if curvature == "fisher":
        p = reference.softmax(f)
        deviation = f - np.sum(p * f, axis=1, keepdims=True)
        variance = np.sum(p * deviation**2, axis=1, keepdims=True)
        at_outputs += count**2 * (p * (deviation**2 - variance))[..., None]
    gradient = np.mean(j.swapaxes(1, 2) @ at_outputs, axis=0)[:, 0]
    generator = np.random.default_rng(3)
    directions = [
        [generator.normal(size=v.shape) for v in model.trainable_variables]
        for _ in range(4)
    ]
    truth = [
        np.concatenate([part.ravel() for part in direction]) @ gradient
        for direction in directions
    ]
    found = slopes_of_norm(NORMS[curvature], model, x, directions)
    # The differences' own error is 1e-8, times ratios of derivatives.
    assert models.error([found], [truth]) < 1e-6
