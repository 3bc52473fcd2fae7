"""The Gauss-Newton norm against central differences, layer by layer."""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.diagnostics import gauss_newton
from tfwd.diagnostics import outputs
from tfwd_tests.diagnostics import differences
from tfwd_tests.diagnostics import homogeneous
from tfwd_tests.kfac import models


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def norms(model, x, likelihood="softmax", from_logits=True, variables=None):
    likelihood = outputs.likelihood_of(
        model, models.loss_of(likelihood, from_logits)
    )
    found = gauss_newton.squared_norms(model, x, likelihood, variables)
    return keras.ops.convert_to_numpy(found)


def images():
    """Returns a network of the layers that image models are made of."""
    model = models.built(
        [
            layers.Conv2D(4, 2, padding="same", strides=2, groups=2),
            layers.BatchNormalization(),
            layers.Activation("gelu"),
            layers.DepthwiseConv2D(2, padding="same"),
            layers.GroupNormalization(2),
            layers.SeparableConv2D(3, 2, activation="elu"),
            layers.LayerNormalization(),
            layers.Conv2DTranspose(3, 2),
            layers.MaxPooling2D(2, strides=1),
            layers.PReLU(),
            layers.AveragePooling2D(2, padding="same"),
            layers.ZeroPadding2D(1),
            layers.UpSampling2D(2),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ],
        (6, 6, 2),
    )
    norm = model.layers[1]
    norm.moving_mean.assign([0.1, -0.2, 0.3, 0.4])
    norm.moving_variance.assign([0.5, 2.0, 3.0, 1.0])
    return model


def without_softmax(model):
    """Returns the same model with logits."""
    last = layers.Dense(3)
    found = keras.Sequential([model.inputs[0], *model.layers[:-1], last])
    last.set_weights(model.layers[-1].get_weights())
    return found


def test_norm_of_image_layers_and_a_fused_softmax():
    model, x = images(), models.normal(3, 6, 6, 2)
    tangent = differences.along_weights(without_softmax(model), x)
    np.testing.assert_allclose(
        norms(model, x, from_logits=False),
        np.sum(tangent**2, axis=-1),
        rtol=differences.TOLERANCE,
    )


def texts():
    """Returns a network of the layers that models of text are made of."""
    return models.built(
        [
            layers.Embedding(7, 4),
            layers.LSTM(3, return_sequences=True),
            layers.EinsumDense("bti,io->bto", (None, 4), bias_axes="o"),
            layers.GRU(3, return_sequences=True),
            layers.Conv1D(4, 2, padding="causal", activation="tanh"),
            layers.Dense(5),
        ],
        (3,),
    )


def test_norm_of_text_layers_is_the_mean_over_predictions():
    model = texts()
    x = np.random.default_rng(0).integers(7, size=(4, 3))
    tangent = differences.along_weights(model, x)
    np.testing.assert_allclose(
        norms(model, x),
        np.mean(np.sum(tangent**2, axis=-1), axis=-1),
        rtol=differences.TOLERANCE,
    )


def test_norm_of_some_variables():
    model = models.built(
        [layers.Dense(4, activation="tanh"), layers.Dense(3)], (4,)
    )
    x = models.normal(5, 4)
    variables = [model.layers[0].kernel]
    tangent = differences.along_weights(model, x, variables)
    np.testing.assert_allclose(
        norms(model, x, variables=variables),
        np.sum(tangent**2, axis=-1),
        rtol=differences.TOLERANCE,
    )
    model.trainable = False
    with pytest.raises(ValueError, match="`variables` must hold a variable"):
        norms(model, x)


@pytest.mark.parametrize("name", homogeneous.CHAINS)
def test_norm_of_a_piecewise_linear_chain_is_that_of_its_outputs(name):
    # Zhang et al. 2019, Equation 16: J_θ θ = n_L f.
    model, count = homogeneous.chain(name)
    x = models.normal(5, *model.input_shape[1:])
    f = differences.outputs(model, x)
    np.testing.assert_allclose(
        norms(model, x), count**2 * np.sum(f**2, axis=-1), rtol=1e-12
    )
