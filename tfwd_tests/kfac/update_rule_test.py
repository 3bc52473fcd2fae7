"""Thirty steps of KFAC against numpy, written from the papers.

Covers `optimizer`, `curvature_optimizer` and `kl_clip`.
"""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers

import tfwd
from tfwd_tests import marks
from tfwd_tests.kfac import models
from tfwd_tests.kfac import reference
from tfwd_tests.optimizers import harness

STEPS = 30
ACTIVATIONS = ("tanh", "relu", "linear")
OPTIONS = {"factor_every": 3, "inverse_every": 6}
# Exact in float32, and so are the weights of an average with decay 1/2: what a
# float64 run would lose by float32 scalars is a test of its own.
EXACT = {"damping": 2.0**-4, "factor_decay": 0.5}
# So are the learning rates, which Keras' schedules round on TensorFlow.
RATE = 2.0**-6
# Relative to ‖θ‖: the rounding of thirty steps.
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
    return [base] * 20 + [base / 8] * (STEPS - 20)


def drop(base):
    # Keras' boundary belongs to the piece before it.
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [19], [base, base / 8]
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
        learning_rates=learning_rates(RATE),
        weight_decays=[0.0 if mode == "none" else 0.05] * STEPS,
        mode=mode,
        decay_factors=[1.0, 0.0] * 3,
        **options,
    )
    return parameters[-1]


def assert_equal(mode, dtype, cold=None, **options):
    options = {**OPTIONS, **EXACT, **options}
    own = {} if mode == "none" else {"weight_decay_mode": mode}
    with models.float64() if dtype == "float64" else contextlib.nullcontext():
        optimizer = tfwd.KFAC(
            drop(RATE),
            weight_decay=0.0 if mode == "none" else 0.05,
            exclude_from_weight_decay=["bias$"],
            estimation="exact",
            **own,
            **options,
        )
        start, actual = trained(optimizer, cold)
    truth = expected(start, mode, cold_start=cold, **options)
    moved = harness.relative_error(truth, start)
    assert moved > 0.05
    assert harness.relative_error(actual, truth) < TOLERANCES[dtype]


@pytest.mark.parametrize(
    ("mode", "damping_mode"),
    (
        ("none", "factored"),
        ("l2", "factored"),
        ("decoupled", "factored"),
        *marks.many(
            ("stable", "factored"),
            ("independent", "factored"),
            ("l2", "eigen"),
            ("decoupled", "eigen"),
        ),
    ),
)
def test_thirty_steps_equal_the_papers_in_float64(mode, damping_mode):
    assert_equal(mode, "float64", damping_mode=damping_mode)


@pytest.mark.parametrize(
    "option",
    ({"damping": 0.05}, *marks.many({"factor_decay": 0.95})),
    ids=str,
)
def test_arguments_that_float32_cannot_hold_keep_float64(option):
    assert_equal("decoupled", "float64", **option)


def test_cold_start_on_three_batches_keeps_float64():
    assert_equal(
        "decoupled", "float64", cold=batches(3), update_order="authors"
    )


@pytest.mark.parametrize("mode", ("l2", *marks.many("decoupled")))
def test_thirty_steps_equal_the_papers_in_float32(mode):
    assert_equal(mode, "float32")


@pytest.mark.parametrize("mode", ("l2", *marks.many("stable")))
def test_clipped_steps_equal_the_papers(mode):
    # Small enough to be active in every step.
    assert_equal(mode, "float64", kl_clip=2.0**-13)


@pytest.mark.parametrize("cold", (False, True))
def test_the_authors_order_equals_the_papers(cold):
    assert_equal(
        "decoupled",
        "float64",
        cold=batches(2) if cold else None,
        update_order="authors",
    )


def test_cold_start_equals_the_papers():
    assert_equal("decoupled", "float64", cold=batches(2))


@pytest.mark.many
def test_gauss_newton_with_a_scale_equals_the_papers():
    assert_equal(
        "decoupled", "float64", curvature="gauss_newton", curvature_scale=2.0
    )


@pytest.mark.many
def test_empirical_fisher_equals_the_papers():
    assert_equal("none", "float64", curvature="empirical")


@pytest.mark.parametrize(
    ("mode", "damping_mode"),
    (
        ("l2", "factored"),
        *marks.many(
            ("decoupled", "eigen"),
            ("stable", "factored"),
            ("independent", "factored"),
        ),
    ),
)
def test_with_a_huge_damping_it_is_sgd(mode, damping_mode):
    # d·U → V as d → ∞: learning rate d·η, and λ/d where η multiplies it. What
    # the curvature adds is 1/d of it, or √(1/d) where √d damps each factor.
    d = 2.0**66
    divided = 1.0 if mode in ("l2", "independent") else d
    with models.float64():
        optimizer = tfwd.KFAC(
            drop(RATE * d),
            weight_decay=0.05 / divided,
            weight_decay_mode=mode,
            estimation="exact",
            damping=d,
            damping_mode=damping_mode,
            **OPTIONS,
        )
        _, actual = trained(optimizer)
        sgd = tfwd.SGD(
            drop(RATE), weight_decay=0.05, weight_decay_mode=mode, momentum=0.9
        )
        _, truth = trained(sgd)
    assert harness.relative_error(actual, truth) < 1e-9
