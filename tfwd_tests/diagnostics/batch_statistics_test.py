"""Curvature with the statistics of the batch: against numpy, and a scale."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import tfwd
from tfwd.diagnostics import kronecker_factors
from tfwd.diagnostics import outputs
from tfwd.diagnostics import streaming
from tfwd.kfac import sampling
from tfwd_tests.diagnostics import measuring
from tfwd_tests.kfac import models

EPSILON = 1e-3
SCALE = 3.0


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def network(*, dropout=0.0, epsilon=EPSILON):
    return models.built(
        [
            layers.Dense(3, use_bias=False, name="first"),
            layers.BatchNormalization(epsilon=epsilon, name="norm"),
            layers.Activation("tanh"),
            layers.Dropout(dropout),
            layers.Dense(2, name="head"),
        ],
        (4,),
    )


def outputs_of(model, s):
    """Returns z [3, 2] of pre-activations s [3, 3], batch statistics, numpy."""
    _, gamma, beta, kernel, bias = map(
        ops.convert_to_numpy, model.trainable_variables
    )
    normalized = (s - s.mean(0)) / np.sqrt(s.var(0) + EPSILON)
    return np.tanh(gamma * normalized + beta) @ kernel + bias


def gauss_newton_factor(model, x):
    """Returns G = Σ (∂z_ik/∂s_j)(∂z_ik/∂s_j)ᵀ/N over i, k and j."""
    s = x @ ops.convert_to_numpy(model.layers[0].kernel)
    total, step = np.zeros((3, 3)), 1e-6
    for j in range(3):
        slopes = []
        for unit in range(3):
            shift = np.zeros_like(s)
            shift[j, unit] = step
            difference = outputs_of(model, s + shift) - outputs_of(
                model, s - shift
            )
            slopes.append(difference / (2 * step))
        total += np.einsum("cik,dik->cd", slopes, slopes)
    return total / 3


def seeds_of_all_signs():
    """Returns seeds that give three examples all four relations of signs."""
    found = {}
    for seed in range(100):
        signs = ops.convert_to_numpy(sampling.signs(np.arange(3), 0, seed, 1))
        found.setdefault(tuple((signs * signs[0]).ravel()), seed)
    assert len(found) == 4
    return found.values()


def factors(model, x, seed=0, kind="gauss_newton", mode="training"):
    estimator = kronecker_factors.KroneckerFactors(
        model,
        outputs.likelihood_of(model, models.loss_of("gaussian")),
        kind,
        mode=mode,
        seed=seed,
    )
    sums = streaming.Sums(estimator.statistics, model).over([x])
    return estimator.layers(sums)[0]


@pytest.mark.parametrize("dropout", [0.0, 0.9])
def test_factors_are_those_of_the_normalized_batch_without_dropout(dropout):
    """The mean over the signs is exact: products of two examples cancel."""
    model, x = network(dropout=dropout), models.normal(3, 4)
    before = measuring.state(model)
    found = [factors(model, x, seed) for seed in seeds_of_all_signs()]
    np.testing.assert_allclose(found[0].input_factor, x.T @ x / 3, rtol=1e-12)
    np.testing.assert_allclose(
        np.mean([each.gradient_factor for each in found], axis=0),
        gauss_newton_factor(model, x),
        rtol=1e-7,
        atol=1e-9,
    )
    for one, other in zip(measuring.state(model), before, strict=True):
        np.testing.assert_array_equal(one, other)


def traces(model, x, **options):
    loss = models.loss_of("softmax")
    return [
        tfwd.diagnostics.curvature_traces(
            model, x, curvature=kind, loss=loss, batch_size=8, **options
        )["first"]
        for kind in ("fisher", "gauss_newton")
    ]


def test_a_scale_that_has_no_effect_changes_no_trace():
    model, x = network(epsilon=1e-15), models.normal(16, 4)
    kernel = model.layers[0].kernel
    before, averaged = traces(model, x), traces(model, x, mode="inference")
    kernel.assign(SCALE * kernel)
    np.testing.assert_allclose(traces(model, x), before, rtol=1e-9)
    after = traces(model, x, mode="inference")
    assert np.all(np.abs(np.log(np.divide(after, averaged))) > 0.1)


def test_a_scale_that_has_no_effect_changes_no_damping_ratio_but_by_theta():
    """λ‖θ‖²/(tr C(θ̂)/n): the effective damping alone grows, by c²."""
    model, x = network(epsilon=1e-15), models.normal(16, 4)
    loss = models.loss_of("softmax")
    optimizer = tfwd.KFAC(0.1, damping=0.01)
    optimizer.attach(model, loss)
    optimizer.build(model.trainable_variables)
    names = ["fisher", "gauss_newton", "damping"]
    measured = tfwd.diagnostics.Mechanisms(model, names, loss=loss)
    rows = []
    for factor in (1.0, SCALE):
        model.layers[0].kernel.assign(factor * model.layers[0].kernel)
        rows.append(measured.measure([x[:8], x[8:]], optimizer)[0])
    before, after = rows
    for column in ("fisher_trace", "gauss_newton_trace"):
        np.testing.assert_allclose(after[column], before[column], rtol=1e-9)
    np.testing.assert_allclose(
        after["effective_damping"], SCALE**2 * before["effective_damping"]
    )
    np.testing.assert_allclose(
        after["damping_ratio"], SCALE**2 * before["damping_ratio"], rtol=1e-9
    )


def test_examples_of_weight_0_are_not_in_the_statistics():
    model, x = network(), models.normal(12, 4)
    x[8:] = 100.0
    y, weights = np.zeros(12, "int32"), np.repeat([1.0, 0.0], [8, 4])
    loss = models.loss_of("softmax")
    for estimation in ("exact", "sampled"):
        options = {"loss": loss, "estimation": estimation}
        padded = tfwd.diagnostics.curvature_traces(
            model, [(x, y, weights)], **options
        )
        plain = tfwd.diagnostics.curvature_traces(
            model, [(x[:8], y[:8])], **options
        )
        for name, trace in plain.items():
            # Keras adds 1e-7 to the count of a mask.
            np.testing.assert_allclose(padded[name], trace, rtol=1e-6)


def test_a_batch_of_weight_0_adds_nothing():
    model, x, y = network(), models.normal(8, 4), np.zeros(8, "int32")
    loss = models.loss_of("softmax")
    for mode in ("training", "inference"):
        one, both = (
            tfwd.diagnostics.curvature_traces(
                model, batches, loss=loss, mode=mode
            )
            for batches in (
                [(x, y, np.ones(8))],
                [(x, y, np.ones(8)), (x, y, np.zeros(8))],
            )
        )
        np.testing.assert_allclose([*both.values()], [*one.values()])


class Own(keras.Model):
    """Has a normalization of its own, whose call takes no mask."""

    class Norm(layers.BatchNormalization):
        def call(self, inputs, training=None):
            return super().call(inputs, training=training)

    def __init__(self):
        super().__init__()
        self.first = layers.Dense(3, name="first")
        self.norm, self.own = layers.BatchNormalization(), self.Norm()
        self.head = layers.Dense(2)

    def call(self, x, training=None):
        y = self.norm(self.first(x), training=training)
        return self.head(self.own(y, training=training))


def test_a_normalization_may_be_called_in_any_way():
    model, x = Own(), models.normal(16, 4)
    model(x)
    model.norm.epsilon = 1e-15
    before = traces(model, x)
    model.first.kernel.assign(SCALE * model.first.kernel)
    np.testing.assert_allclose(traces(model, x), before, rtol=1e-9)


def test_arrays_are_cut_into_batches_as_equal_as_can_be():
    x = np.arange(256)
    parts = [len(part) for part in streaming.batches_of(x, 250)]
    assert parts == [128, 128]
    found = [*streaming.batches_of((x, x), 100)]
    assert [len(part) for part, _ in found] == [86, 85, 85]
    np.testing.assert_array_equal(np.concatenate([a for a, _ in found]), x)


def test_a_frozen_normalization_keeps_to_its_averages():
    model, x = network(), models.normal(16, 4)
    model.layers[1].trainable = False
    np.testing.assert_allclose(
        traces(model, x), traces(model, x, mode="inference"), rtol=1e-12
    )


def test_modes_are_the_same_without_batch_normalization():
    model = models.built(
        [
            layers.Dense(3, name="first"),
            layers.LayerNormalization(),
            layers.Dropout(0.9),
            layers.Dense(2),
        ],
        (4,),
    )
    x = models.normal(16, 4)
    np.testing.assert_allclose(
        traces(model, x), traces(model, x, mode="inference"), rtol=1e-12
    )


@pytest.mark.parametrize("mode", ["auto", True, None])
def test_mode_is_one_of_two(mode):
    with pytest.raises(
        ValueError, match="^`mode` must be one of training, inf"
    ):
        traces(network(), models.normal(8, 4), mode=mode)


def test_hooks_are_gone_afterwards():
    model, x = network(), models.normal(8, 4)
    traces(model, x)
    assert not any("call" in vars(layer) for layer in model.layers)
    keras.models.clone_model(model)
