"""What is not finite never comes out as a plausible number."""

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
@pytest.mark.parametrize("layer", [0, 1])
def test_measure_of_a_weight_that_is_not_finite_is_none(name, layer):
    model, x, y = network()
    kernel = keras.ops.convert_to_numpy(model.layers[layer].kernel).copy()
    kernel[1, 2] = np.nan
    model.layers[layer].kernel.assign(kernel)
    assert not np.isfinite(MEASURES[name](model, x, y))
