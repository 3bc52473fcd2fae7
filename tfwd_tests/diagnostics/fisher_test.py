"""The Fisher-Rao norms against dense matrices.

Covers `derivatives`.
"""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.diagnostics import fisher
from tfwd.diagnostics import outputs
from tfwd_tests.diagnostics import differences
from tfwd_tests.kfac import models
from tfwd_tests.kfac import reference

LIKELIHOODS = ("softmax", "sigmoid", "gaussian")
ACTIVATIONS = {"softmax": "softmax", "sigmoid": "sigmoid", "gaussian": None}


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def network(activation=None, shape=(4,)):
    return models.built(
        [
            layers.Dense(5, activation="tanh"),
            layers.Dense(3, activation=activation),
        ],
        shape,
    )


def fisher_norms(likelihood, z, tangent):
    h = reference.output_hessian(likelihood, "fisher", z)
    return np.einsum("bk,bkl,bl->b", tangent, h, tangent)


def label_norms(likelihood, z, y, tangent):
    first = reference.loss_gradient(likelihood, z, y)
    return np.sum(first * tangent, axis=-1) ** 2


@pytest.mark.parametrize("from_logits", (True, False))
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_norms_are_those_of_dense_matrices(likelihood, from_logits):
    x = models.normal(6, 4)
    y = models.targets_of(likelihood, (6, 3))
    plain = network()
    z = differences.outputs(plain, x)
    tangent = differences.along_weights(plain, x)
    model = network(None if from_logits else ACTIVATIONS[likelihood])
    read = outputs.likelihood_of(model, models.loss_of(likelihood, from_logits))
    np.testing.assert_allclose(
        fisher.squared_norms(model, x, read),
        fisher_norms(likelihood, z, tangent),
        rtol=differences.TOLERANCE,
    )
    np.testing.assert_allclose(
        fisher.label_norms(model, x, y, read),
        label_norms(likelihood, z, y, tangent),
        rtol=differences.TOLERANCE,
    )


def test_norms_of_a_sequence_are_means_over_predictions():
    x = models.normal(2, 3, 4)
    y = models.targets_of("softmax", (2, 3, 3))
    model = network(shape=(3, 4))
    read = outputs.likelihood_of(model, models.loss_of("softmax"))
    z = differences.outputs(model, x).reshape((6, 3))
    tangent = differences.along_weights(model, x).reshape((6, 3))
    for found, truth in (
        (
            fisher.squared_norms(model, x, read),
            fisher_norms("softmax", z, tangent),
        ),
        (
            fisher.label_norms(model, x, y, read),
            label_norms("softmax", z, y.ravel(), tangent),
        ),
    ):
        np.testing.assert_allclose(
            found,
            truth.reshape((2, 3)).mean(axis=1),
            rtol=differences.TOLERANCE,
        )


def test_labels_may_be_one_hot_and_smoothed():
    x, y = models.normal(6, 4), models.targets_of("softmax", (6, 3))
    model = network()
    z = differences.outputs(model, x)
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.3, dtype="float64"
    )
    smooth = 0.7 * np.eye(3)[y] + 0.3 / 3
    tangent = differences.along_weights(model, x)
    products = np.sum((reference.softmax(z) - smooth) * tangent, axis=-1)
    found = fisher.label_norms(
        model, x, np.eye(3)[y], outputs.likelihood_of(model, loss)
    )
    np.testing.assert_allclose(
        found, products**2, rtol=differences.TOLERANCE, atol=1e-12
    )


def test_labels_are_needed_for_their_norm():
    model = network()
    likelihood = outputs.likelihood_of(model, models.loss_of("softmax"))
    with pytest.raises(ValueError, match="needs them beside the inputs"):
        fisher.label_norms(model, models.normal(2, 4), None, likelihood)
