"""The measures on data in every form, and that nothing of a model changes.

Covers `metrics`.
"""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.diagnostics import metrics
from tfwd.diagnostics import streaming
from tfwd_tests.diagnostics import differences
from tfwd_tests.diagnostics import measuring
from tfwd_tests.kfac import models
from tfwd_tests.kfac import reference


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def test_nothing_depends_on_batches_and_the_model_stays_as_it_is():
    model, (x, y) = measuring.network(), measuring.data(7)
    loss = models.loss_of("softmax")
    before = measuring.state(model)
    whole = measuring.everything(model, [(x, y)], loss)
    batches = streaming.batches_of((x, y), 3)
    parts = measuring.everything(model, batches, loss)
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(
            parts[name], value, rtol=1e-10, atol=1e-14, err_msg=name
        )
    for old, new in zip(before, measuring.state(model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all("call" not in vars(layer) for layer in model.layers)


def test_means_and_errors_are_those_of_the_examples():
    model, (x, y) = measuring.network(), measuring.data(7)
    loss = models.loss_of("softmax")
    z = differences.outputs(model, x)
    tangent = differences.along_weights(model, x)
    h = reference.output_hessian("softmax", "fisher", z)
    first = reference.loss_gradient("softmax", z, y)
    jacobians = differences.input_jacobians(model, x)
    for found, values in (
        (
            metrics.squared_jacobian_norm(model, x, loss=loss, batch_size=4),
            np.sum(jacobians**2, axis=(1, 2)),
        ),
        (
            metrics.gauss_newton_norm(model, (x, y), loss=loss, batch_size=4),
            np.sum(tangent**2, axis=-1),
        ),
        (
            metrics.fisher_rao_norm(model, x, loss=loss),
            np.einsum("bk,bkl,bl->b", tangent, h, tangent),
        ),
        (
            metrics.fisher_rao_norm(model, (x, y), loss=loss, labels=True),
            np.sum(first * tangent, axis=-1) ** 2,
        ),
    ):
        expected = np.mean(values), np.std(values, ddof=1) / np.sqrt(7), 7
        np.testing.assert_allclose(found, expected, rtol=differences.TOLERANCE)


def test_loops_of_recurrent_layers_are_differentiated_in_a_program():
    loss = models.loss_of("softmax")
    model = models.built([layers.LSTM(3), layers.Dense(2)], (3, 2))
    x = models.normal(5, 3, 2)
    tangent = differences.along_weights(model, x)
    found = metrics.gauss_newton_norm(model, x, loss=loss)
    np.testing.assert_allclose(
        found.value,
        np.mean(np.sum(tangent**2, axis=-1)),
        rtol=differences.TOLERANCE,
    )
    found = metrics.squared_jacobian_norm(model, x, loss=loss)
    jacobians = differences.input_jacobians(model, x)
    np.testing.assert_allclose(
        found.value,
        np.mean(np.sum(jacobians**2, axis=(1, 2))),
        rtol=differences.TOLERANCE,
    )


def losses(z, y):
    return -np.log(reference.softmax(z)[np.arange(len(y)), y])


def test_generalization_gap_is_test_loss_minus_training_loss():
    (x, y), (other, labels) = measuring.data(7), measuring.data(4)
    other = other + 1
    plain = measuring.network()
    truth = np.mean(losses(differences.outputs(plain, other), labels)) - (
        np.mean(losses(differences.outputs(plain, x), y))
    )
    for model, from_logits in (
        (plain, True),
        (measuring.network("softmax"), False),
    ):
        model.compile(loss=models.loss_of("softmax", from_logits))
        found = metrics.generalization_gap(model, (x, y), (other, labels))
        np.testing.assert_allclose(found, truth, rtol=1e-12)
    with pytest.raises(ValueError, match="must have labels"):
        metrics.generalization_gap(plain, x, (other, labels))


def test_norm_and_traces_of_layers_have_their_names():
    model, (x, y) = measuring.network(), measuring.data(1)
    loss = models.loss_of("softmax")
    norms = metrics.kfac_gauss_newton_norm(model, (x, y), loss=loss)
    # Statistics of a batch of one datum are another network.
    traces = metrics.curvature_traces(model, x, loss=loss, mode="inference")
    names = [model.layers[0].name, model.layers[-1].name]
    assert [*norms] == [*traces] == names
    # The factors of one datum and one position are exact.
    last = model.layers[-1].trainable_variables
    tangent = differences.along_weights(model, x, last)
    np.testing.assert_allclose(
        norms[names[1]], np.sum(tangent**2), rtol=differences.TOLERANCE
    )
    z = differences.outputs(model, x)
    h = reference.output_hessian("softmax", "fisher", z)
    j = models.jacobians(model, x)[id(last[0])].reshape((1, 3, -1))
    kernel = keras.ops.convert_to_numpy(last[0])
    truth = np.sum(kernel**2) * np.einsum("bki,bkl,bli->", j, h, j)
    np.testing.assert_allclose(traces[names[1]], truth, rtol=1e-12)


def test_mixed_precision_comes_close():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model, (x, _) = measuring.network(), measuring.data(7)
    keras.config.set_dtype_policy("float64")
    loss = models.loss_of("softmax")
    tangent = differences.along_weights(measuring.network(), x)
    found = metrics.gauss_newton_norm(model, x, loss=loss)
    # Eight bits of significand.
    np.testing.assert_allclose(
        found.value, np.mean(np.sum(tangent**2, axis=-1)), rtol=0.05
    )
