"""What is not finite never comes out as a plausible number.

Covers `finiteness`.
"""

import keras
import numpy as np
import pytest
from keras import layers

import tfwd
from tfwd_tests.kfac import models

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
MEASURES = {
    "jacobian": lambda model, x, y: (
        tfwd.diagnostics.squared_jacobian_norm(model, x, loss=LOSS).value
    ),
    "projected": lambda model, x, y: (
        tfwd.diagnostics.squared_jacobian_norm(
            model, x, loss=LOSS, projections=2
        ).value
    ),
    "gauss_newton": lambda model, x, y: (
        tfwd.diagnostics.gauss_newton_norm(model, x, loss=LOSS).value
    ),
    "fisher": lambda model, x, y: (
        tfwd.diagnostics.fisher_rao_norm(model, x, loss=LOSS).value
    ),
    "labels": lambda model, x, y: (
        tfwd.diagnostics.fisher_rao_norm(
            model, (x, y), loss=LOSS, labels=True
        ).value
    ),
    "kfac": lambda model, x, y: sum(
        tfwd.diagnostics.kfac_gauss_newton_norm(model, x, loss=LOSS).values()
    ),
    "traces": lambda model, x, y: sum(
        tfwd.diagnostics.curvature_traces(model, x, loss=LOSS).values()
    ),
    "gap": lambda model, x, y: tfwd.diagnostics.generalization_gap(
        model, (x, y), (x[::-1].copy(), y), LOSS
    ),
}


def network():
    model = models.built(
        [layers.Dense(5, activation="relu"), layers.Dense(3)], (4,)
    )
    return model, models.normal(6, 4).astype("float32"), np.arange(6) % 3


@pytest.mark.parametrize("name", MEASURES)
def test_measure_of_finite_numbers_is_finite(name):
    assert np.isfinite(MEASURES[name](*network()))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_measure_of_an_input_that_is_not_finite_is_none(name, value):
    model, x, y = network()
    x[2, 1] = value
    assert not np.isfinite(MEASURES[name](model, x, y))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("place", ["bias", "kernel", "input"])
def test_measure_of_what_an_activation_hides_is_none(name, activation, place):
    """ReLU makes 0 of an infinity, tanh 1."""
    model = models.built(
        [layers.Dense(5, activation=activation), layers.Dense(3)], (4,)
    )
    x, y = np.abs(models.normal(6, 4)).astype("float32"), np.arange(6) % 3
    first = model.layers[0]
    if place == "bias":
        first.bias.assign([0, -np.inf, 0, 0, 0])
    elif place == "kernel":
        kernel = keras.ops.convert_to_numpy(first.kernel).copy()
        kernel[1, 2] = -np.inf
        first.kernel.assign(kernel)
    else:
        first.kernel.assign(-np.abs(keras.ops.convert_to_numpy(first.kernel)))
        x[2, 1] = np.inf
    assert not np.isfinite(MEASURES[name](model, x, y))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_measure_of_what_a_pooling_passes_over_is_none(name, value):
    model = models.built(
        [layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(3)], (4, 4, 1)
    )
    x = models.normal(6, 4, 4, 1).astype("float32")
    x[2, 0, 0, 0] = value
    assert not np.isfinite(MEASURES[name](model, x, np.arange(6) % 3))


def test_an_example_of_weight_0_may_be_anything():
    model, x, y = network()
    weights = np.array([1.0, 1, 0, 1, 1, 1], "float32")
    found = tfwd.diagnostics.squared_jacobian_norm(
        model, (x, y, weights), loss=LOSS
    )
    x[2] = np.nan
    again = tfwd.diagnostics.squared_jacobian_norm(
        model, (x, y, weights), loss=LOSS
    )
    assert np.isfinite(found.value) and found.value == again.value


def test_moving_averages_count_where_they_are_read():
    model = models.built(
        [layers.Dense(5), layers.BatchNormalization(), layers.Dense(3)], (4,)
    )
    model.layers[1].moving_mean.assign(np.full(5, np.nan))
    _, x, _ = network()
    for mode, is_finite in (("training", True), ("inference", False)):
        found = tfwd.diagnostics.curvature_traces(
            model, x, loss=LOSS, mode=mode
        )
        assert [*np.isfinite([*found.values()])] == [is_finite] * 2


def test_effective_learning_rate_of_a_kernel_that_is_not_finite_is_none():
    for value in (np.inf, np.nan):
        kernel = np.array([value, 1.0])
        assert np.isnan(tfwd.diagnostics.effective_learning_rate(0.1, kernel))


def test_a_change_to_nan_is_not_passed_over():
    """Of two outputs one stays and one becomes NaN."""
    x = keras.Input((4,))
    y = layers.Dense(3, name="first")(x)
    end = layers.Activation(lambda z: keras.ops.sqrt(z - z))(y)
    model = keras.Model(x, [layers.LayerNormalization()(y), end * np.nan])
    found = tfwd.diagnostics.scale_invariance.of_model(model)
    (change,) = tfwd.diagnostics.scale_invariance.confirm(
        model, found, models.normal(6, 4)
    )
    assert np.isnan(change)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("layer", [0, 1])
def test_measure_of_a_weight_that_is_not_finite_is_none(name, layer):
    model, x, y = network()
    kernel = keras.ops.convert_to_numpy(model.layers[layer].kernel).copy()
    kernel[1, 2] = np.nan
    model.layers[layer].kernel.assign(kernel)
    assert not np.isfinite(MEASURES[name](model, x, y))
