"""The multilayer perceptron computes and counts what its docstring says."""

import itertools

import keras
import numpy as np
import pytest

from tfwd import models
from tfwd_tests.models import examining


@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize(("units", "width"), [(16, 1.0), (100, 0.33), (9, 2.0)])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_trainable_parameters_follow_the_formula(
    layers, units, width, batch_norm
):
    model = models.build(
        "mlp",
        (8, 8, 1),
        10,
        width=width,
        batch_norm=batch_norm,
        hidden_layers=layers,
        hidden_units=units,
    )
    sizes = [64] + layers * [round(units * width)] + [10]
    assert examining.trainable_parameters(model) == sum(
        (inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes)
    )


def randomized(model):
    """Gives every variable random values, and returns them by path."""
    generator = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(generator.uniform(0.1, 1.0, variable.shape) - 0.3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.moving_variance.shape
            layer.moving_variance.assign(generator.uniform(0.5, 2.0, shape))
    return {
        v.path: keras.ops.convert_to_numpy(v).astype("float64")
        for v in model.variables
    }


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_forward_pass_equals_numpy(batch_norm):
    model = models.build(
        "mlp", (2, 3, 1), 4, batch_norm=batch_norm, hidden_units=5
    )
    values = randomized(model)
    images = np.random.default_rng(1).random((7, 2, 3, 1))
    x = images.reshape(7, 6)
    for layer in ("hidden1", "hidden2"):
        x = x @ values[f"{layer}/kernel"] + values[f"{layer}/bias"]
        if batch_norm:
            x = x - values[f"{layer}_norm/moving_mean"]
            x = x / np.sqrt(values[f"{layer}_norm/moving_variance"] + 1e-3)
        x = np.maximum(x, 0)
    expected = x @ values["logits/kernel"] + values["logits/bias"]
    logits = keras.ops.convert_to_numpy(model(images, training=False))
    assert np.abs(expected).max() > 0.1
    # float32: sums of at most six products of numbers near 1.
    np.testing.assert_allclose(logits, expected, rtol=2e-6, atol=2e-6)


def test_width_never_leaves_a_layer_without_units():
    model = models.build("mlp", (8, 8, 1), 10, width=1e-6)
    assert model.get_layer("hidden1").units == 1
