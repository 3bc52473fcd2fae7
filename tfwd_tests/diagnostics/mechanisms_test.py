"""The rows of a measurement against numbers by hand.

The truth is that of a linear network without biases, z = x U W. There, with L
the two layers, J_θ θ = L z (Zhang et al. 2019, Lemma 1), so that
θᵀGθ = L² E‖z‖², and the K-FAC norm is L E‖z‖² (Lemma 2).

Covers `optimizer_rates`.
"""

import functools
import math

import keras
import numpy as np
import pytest
from keras import layers

import tfwd
from tfwd.diagnostics import mechanisms
from tfwd.diagnostics import table
from tfwd_tests.kfac import models

LOSS = models.loss_of("softmax")
# Sums of some hundred products; the weights are float64.
TOLERANCE = 1e-11
RATES = ("effective_learning_rate",)


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def chain():
    """Returns a linear network of two layers, without biases."""
    return models.built(
        [
            layers.Dense(4, use_bias=False, name="first"),
            layers.Dense(3, use_bias=False, name="last"),
        ],
        (5,),
    )


def data(size=7):
    x = models.normal(size, 5)
    return x, models.targets_of("softmax", (size, 3))


def batches(size=7, batch_size=4):
    x, y = data(size)
    return [
        (x[i : i + batch_size], y[i : i + batch_size])
        for i in range(0, size, batch_size)
    ]


@functools.cache
def all_mechanisms():
    """Returns a network and all its diagnostics, exact, compiled once."""
    model = chain()
    return model, mechanisms.Mechanisms(
        model,
        mechanisms.NAMES,
        loss=LOSS,
        projections=None,
        estimation="exact",
    )


def all_measured(optimizer=None):
    """Returns the network and {layer: row}."""
    model, found = all_mechanisms()
    return model, by_layer(found.measure(batches(), optimizer))


def rates_of(model, optimizer=None, names=RATES, learning_rate=None):
    """Returns {layer: row} of what needs no data."""
    found = mechanisms.Mechanisms(model, names)
    return by_layer(found.measure((), optimizer, learning_rate))


def by_layer(rows):
    return {row["layer"]: row for row in rows}


def values_of(model):
    """Returns U, W, x, z and p as arrays."""
    u, w = model.get_weights()
    x, _ = data()
    z = x @ u @ w
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return u, w, x, z, p / p.sum(axis=1, keepdims=True)


def mean_and_error(values):
    return values.mean(), values.std(ddof=1) / math.sqrt(len(values))


def assert_close(actual, truth):
    np.testing.assert_allclose(actual, truth, rtol=TOLERANCE)


def test_norms_and_rates_are_those_of_the_kernels_and_the_schedule():
    model = chain()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    optimizer = tfwd.SGDW(schedule, weight_decay=0.01)
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(3)
    rows = rates_of(model, optimizer)
    u, w, *_ = values_of(model)
    eta = 0.5 * 0.5**3
    assert list(rows) == ["first", "last", table.MODEL]
    for name, kernel in (("first", u), ("last", w)):
        row = rows[name]
        assert row["weights"] == kernel.size
        assert row["scale_invariant"] is False
        assert_close(row["weight_norm"], np.sqrt((kernel**2).sum()))
        assert_close(row["effective_learning_rate"], eta / (kernel**2).sum())
        assert row["effective_damping"] is row["jacobian"] is None
    row = rows[table.MODEL]
    norm = np.sqrt((u**2).sum() + (w**2).sum())
    assert_close(row["weight_norm"], norm)
    assert_close(row["intrinsic_learning_rate"], eta * 0.01)
    assert_close(row["expected_steps"], 1 / (eta * 0.01))
    assert row["seconds"] > 0


def test_kernel_before_a_normalization_is_scale_invariant():
    model = models.built(
        [
            layers.Dense(4, name="first"),
            layers.BatchNormalization(),
            layers.Dense(3, name="last"),
        ],
        (5,),
    )
    rows = rates_of(model)
    assert rows["first"]["scale_invariant"] is True
    assert rows["last"]["scale_invariant"] is False
    assert rows[table.MODEL]["scale_invariant"] is None


def test_jacobian_of_a_linear_network_is_its_product_for_every_example():
    model, rows = all_measured()
    row = rows[table.MODEL]
    u, w, *_ = values_of(model)
    assert_close(row["jacobian"], ((u @ w) ** 2).sum())
    assert row["jacobian_error"] < TOLERANCE


def test_gauss_newton_norms_and_traces_of_a_linear_network():
    model, rows = all_measured()
    u, w, x, z, _ = values_of(model)
    squares = (z**2).sum(axis=1)
    mean, error = mean_and_error(4 * squares)
    row = rows[table.MODEL]
    assert_close(row["gauss_newton_norm"], mean)
    assert_close(row["gauss_newton_norm_error"], error)
    assert_close(row["kfac_gauss_newton_norm"], 2 * squares.mean())
    inputs = {"first": x, "last": x @ u}
    backward = {"first": w @ w.T, "last": np.eye(3)}
    kernels = {"first": u, "last": w}
    for name, kernel in kernels.items():
        trace = (inputs[name] ** 2).sum(axis=1).mean()
        trace *= np.trace(backward[name]) * (kernel**2).sum()
        assert_close(rows[name]["gauss_newton_trace"], trace)
        assert_close(rows[name]["kfac_gauss_newton_norm"], squares.mean())


def test_fisher_rao_norms_and_traces_of_a_linear_network():
    model, rows = all_measured()
    u, w, x, z, p = values_of(model)
    variances = (p * z**2).sum(axis=1) - (p * z).sum(axis=1) ** 2
    mean, error = mean_and_error(4 * variances)
    row = rows[table.MODEL]
    assert_close(row["fisher_rao_norm"], mean)
    assert_close(row["fisher_rao_norm_error"], error)
    along = ((p - np.eye(3)[data()[1]]) * z).sum(axis=1)
    mean, error = mean_and_error(4 * along**2)
    assert_close(row["label_fisher_rao_norm"], mean)
    assert_close(row["label_fisher_rao_norm_error"], error)
    hessian = np.mean([np.diag(one) - np.outer(one, one) for one in p], axis=0)
    inputs = (x**2).sum(axis=1).mean(), ((x @ u) ** 2).sum(axis=1).mean()
    traces = (
        inputs[0] * np.trace(w @ hessian @ w.T) * (u**2).sum(),
        inputs[1] * np.trace(hessian) * (w**2).sum(),
    )
    for name, trace in zip(("first", "last"), traces, strict=True):
        assert_close(rows[name]["fisher_trace"], trace)


@pytest.mark.parametrize(
    ("curvature", "scale"),
    [("fisher", None), ("gauss_newton", None), ("gauss_newton", 2.0)],
)
def test_damping_is_that_of_kfac_over_the_mean_eigenvalue(curvature, scale):
    model, _ = all_mechanisms()
    damping = keras.optimizers.schedules.ExponentialDecay(0.25, 1, 0.5)
    optimizer = tfwd.KFAC(
        0.1,
        0.5,
        curvature=curvature,
        curvature_scale=scale,
        damping=damping,
    )
    optimizer.attach(model, LOSS)
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(2)
    _, rows = all_measured(optimizer)
    optimizer.detach()
    u, w, *_ = values_of(model)
    for name, kernel in (("first", u), ("last", w)):
        row = rows[name]
        effective = 0.25 / 4 * (kernel**2).sum()
        assert_close(row["effective_damping"], effective)
        mean = (scale or 1) * row[f"{curvature}_trace"] / kernel.size
        assert_close(row["damping_ratio"], effective / mean)


def test_damping_of_another_optimizer_is_empty():
    optimizer = keras.optimizers.SGD()
    row = rates_of(chain(), optimizer, ["damping"])["first"]
    assert row["effective_damping"] is row["damping_ratio"] is None
    assert row["weight_norm"] is row["effective_learning_rate"] is None


def test_the_rate_of_a_layer_is_multiplied_as_the_optimizer_does():
    model = chain()
    optimizer = tfwd.SGD(0.5, learning_rate_multipliers={"first": 0.25})
    optimizer.build(model.trainable_variables)
    rows = rates_of(model, optimizer)
    for name, rate in (("first", 0.125), ("last", 0.5)):
        squared = rows[name]["weight_norm"] ** 2
        assert_close(rows[name]["effective_learning_rate"], rate / squared)


def test_without_an_optimizer_the_rates_are_empty_or_those_given():
    model = chain()
    row = rates_of(model)["first"]
    assert row["effective_learning_rate"] is None
    assert row["weight_norm"] > 0
    row = rates_of(model, learning_rate=0.25)["first"]
    assert_close(row["effective_learning_rate"], 0.25 / row["weight_norm"] ** 2)


def decay_rate(optimizer, iterations=0):
    optimizer.build(chain().trainable_variables)
    optimizer.iterations.assign(iterations)
    row = rates_of(chain(), optimizer)[table.MODEL]
    return row["intrinsic_learning_rate"]


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [
        (lambda: tfwd.SGDW(0.5, 0.01), 0.005),
        (lambda: tfwd.SGDS(0.5, 0.01, momentum=0.75), 0.02),
        # A penalty passes through the momentum as a gradient does.
        (lambda: tfwd.SGD(0.5, 0.01, momentum=0.75, dampening=0.5), 0.01),
        (lambda: tfwd.SGD(0.5, 0.01, weight_decay_mode="independent"), 0.01),
        (lambda: tfwd.AdamW(0.5, 0.01), 0.005),
        (lambda: tfwd.Adam(0.5, 0.01), None),
        (lambda: tfwd.AdamS(0.5, 0.01), None),
        (lambda: keras.optimizers.SGD(0.5), 0.0),
        (lambda: keras.optimizers.AdamW(0.5, weight_decay=0.01), 0.005),
        (
            lambda: keras.optimizers.LossScaleOptimizer(tfwd.SGDW(0.5, 0.01)),
            0.005,
        ),
    ],
)
def test_decay_rate_is_the_share_that_a_step_takes(optimizer, rate):
    found = decay_rate(optimizer())
    assert found == (rate and pytest.approx(rate, rel=1e-6))


def test_decay_rate_of_a_stable_mode_is_that_of_the_last_scale():
    optimizer = tfwd.AdamS(0.5, 0.01)
    optimizer.effective_weight_decay.assign(3.0)
    assert decay_rate(optimizer, iterations=1) == pytest.approx(1.5)


def test_nothing_that_decays_is_expected_to_take_for_ever():
    row = rates_of(chain(), keras.optimizers.SGD())[table.MODEL]
    assert row["expected_steps"] == math.inf


def test_weights_of_a_later_measurement_count():
    model, found = all_mechanisms()
    weights = model.get_weights()
    model.set_weights([2 * weight for weight in weights])
    later = found.measure(batches())[-1]
    model.set_weights(weights)
    before = found.measure(batches())[-1]
    assert_close(later["jacobian"], 16 * before["jacobian"])
    assert_close(later["gauss_newton_norm"], 16 * before["gauss_newton_norm"])


def test_diverged_weights_are_measured_as_such():
    model, found = all_mechanisms()
    optimizer = tfwd.KFAC(curvature="gauss_newton")
    weights = model.get_weights()
    model.set_weights([np.nan * weight for weight in weights])
    rows = by_layer(found.measure(batches(), optimizer))
    model.set_weights(weights)
    assert math.isnan(rows["first"]["weight_norm"])
    assert math.isnan(rows[table.MODEL]["jacobian"])
    assert rows["first"]["damping_ratio"] is None


@pytest.mark.parametrize("names", ["jacobian", ["jacobean"], [], None])
def test_unknown_diagnostics_are_refused(names):
    with pytest.raises(
        ValueError, match="`names` must hold .* Received: names="
    ):
        mechanisms.Mechanisms(chain(), names, loss=LOSS)
