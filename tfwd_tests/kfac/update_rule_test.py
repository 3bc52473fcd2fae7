"""Thirty steps of KFAC against numpy, written from the papers."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers

import tfwd
from tfwd_tests.kfac import models
from tfwd_tests.kfac import reference
from tfwd_tests.optimizers import harness

STEPS = 30
ACTIVATIONS = ("tanh", "relu", "linear")
SCHEDULE = {"factor_every": 3, "inverse_every": 6}
# Relative to ‖θ‖: rounding of thirty steps, with inverses of a condition of
# about 1e3.
TOLERANCES = {"float64": 1e-9, "float32": 1e-4}


def batches(count=STEPS, size=12):
    generator = np.random.default_rng(2)
    return [
        (generator.normal(size=(size, 6)), generator.integers(3, size=size))
        for _ in range(count)
    ]


def network():
    return models.built(
        [
            layers.Dense(m, activation=name)
            for m, name in zip((7, 5, 3), ACTIVATIONS, strict=True)
        ],
        (6,),
    )


def learning_rates(base):
    return [base] * 20 + [0.1 * base] * (STEPS - 20)


def drop(base):
    # Keras' boundary belongs to the piece before it.
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [19], [base, 0.1 * base]
    )


def trained(optimizer, cold=None):
    """Returns the weights before and after, through Keras' own training."""
    model = network()
    start = model.get_weights()
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, dtype=keras.config.floatx()
    )
    model.compile(optimizer, loss=loss, jit_compile=models.BACKEND == "jax")
    if isinstance(optimizer, tfwd.KFAC):
        optimizer.attach(model)
    if cold is not None:
        optimizer.cold_start([x for x, _ in cold])
    for x, y in batches():
        model.train_on_batch(x, y)
    return start, model.get_weights()


def expected(start, mode, **options):
    parameters, _ = reference.train(
        start,
        batches(),
        activations=ACTIVATIONS,
        loss="softmax",
        learning_rates=learning_rates(0.1),
        weight_decays=[0.0 if mode == "none" else 0.05] * STEPS,
        mode=mode,
        decay_factors=[1.0, 0.0] * 3,
        **options,
    )
    return parameters[-1]


def assert_equal(mode, dtype, cold=None, **options):
    options = {"damping": 1e-2, **SCHEDULE, **options}
    own = {} if mode == "none" else {"weight_decay_mode": mode}
    with models.float64() if dtype == "float64" else contextlib.nullcontext():
        optimizer = tfwd.KFAC(
            drop(0.1),
            weight_decay=0.0 if mode == "none" else 0.05,
            exclude_from_weight_decay=["bias$"],
            estimation="exact",
            **own,
            **options,
        )
        start, actual = trained(optimizer, cold)
    truth = expected(start, mode, cold_start=cold, **options)
    moved = harness.relative_error(truth, start)
    assert moved > 0.1
    assert harness.relative_error(actual, truth) < TOLERANCES[dtype]


MODES = ("none", "l2", "decoupled", "stable", "independent")


@pytest.mark.parametrize("damping_mode", ("factored", "eigen"))
@pytest.mark.parametrize("mode", MODES)
def test_thirty_steps_equal_the_papers_in_float64(mode, damping_mode):
    assert_equal(mode, "float64", damping_mode=damping_mode)


@pytest.mark.parametrize("mode", ("l2", "decoupled"))
def test_thirty_steps_equal_the_papers_in_float32(mode):
    assert_equal(mode, "float32")


@pytest.mark.parametrize("mode", ("l2", "stable"))
def test_clipped_steps_equal_the_papers(mode):
    # Small enough to be active in every step.
    assert_equal(mode, "float64", kl_clip=1e-2)


@pytest.mark.parametrize("cold", (False, True))
def test_the_authors_order_equals_the_papers(cold):
    assert_equal(
        "decoupled",
        "float64",
        cold=batches(4) if cold else None,
        update_order="authors",
    )


def test_cold_start_equals_the_papers():
    assert_equal("decoupled", "float64", cold=batches(4))


def test_gauss_newton_with_a_scale_equals_the_papers():
    assert_equal(
        "decoupled", "float64", curvature="gauss_newton", curvature_scale=2.0
    )


def test_empirical_fisher_equals_the_papers():
    assert_equal("none", "float64", curvature="empirical", damping=1e-1)


@pytest.mark.parametrize("damping_mode", ("factored", "eigen"))
@pytest.mark.parametrize("mode", ("l2", "decoupled", "stable", "independent"))
def test_with_a_huge_damping_it_is_sgd(mode, damping_mode):
    # d·U → V as d → ∞: learning rate d·η, and λ/d where η multiplies it. What
    # the curvature adds is 1/d of it, or √(1/d) where √d damps each factor.
    d = 1e20
    divided = 1.0 if mode in ("l2", "independent") else d
    with models.float64():
        optimizer = tfwd.KFAC(
            drop(0.1 * d),
            weight_decay=0.05 / divided,
            weight_decay_mode=mode,
            estimation="exact",
            damping=d,
            damping_mode=damping_mode,
            **SCHEDULE,
        )
        _, actual = trained(optimizer)
        sgd = tfwd.SGD(
            drop(0.1), weight_decay=0.05, weight_decay_mode=mode, momentum=0.9
        )
        _, truth = trained(sgd)
    assert harness.relative_error(actual, truth) < 1e-9

