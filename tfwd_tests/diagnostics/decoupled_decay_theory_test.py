"""Equations 6 and 7 of Zhang et al. 2019: decay as a penalty ½β‖θ‖²_C.

With C frozen, the step d of least ∇P·d + dᵀCd/(2η), P = L + ½β θᵀCθ, is where
C d + η(∇L + βCθ) = 0. The preconditioner C⁻¹ then leaves θ the plain factor
1 − ηβ, which is decoupled decay. Algorithm 1 prints that decay without η.
"""

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.diagnostics import dense_jacobian
from tfwd_tests.diagnostics import homogeneous
from tfwd_tests.kfac import models
from tfwd_tests.kfac import reference
from tfwd_tests.optimizers import harness

RATE, DECAY, DAMPING = 0.25, 0.5, 0.125
# Sums of about a hundred float64 products, and an inverse.
TOLERANCE = 1e-10


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def assert_zero(residual, scale):
    assert np.linalg.norm(residual) < TOLERANCE * np.linalg.norm(scale)


def moved(model, likelihood, x, y, **options):
    """Returns the variables before and after a step of KFAC."""
    optimizer = models.attached(
        model,
        likelihood,
        learning_rate=RATE,
        weight_decay=DECAY,
        damping=DAMPING,
        momentum=0.0,
        **options,
    )
    before = dense_jacobian.values(model)
    models.step(model, optimizer, likelihood, x, y)
    optimizer.detach()
    return before, dense_jacobian.values(model)


def damped(a, g, damping_mode):
    """Returns C of one layer as KFAC damps it, for rows of [W; b]."""
    if damping_mode == "eigen":
        return np.kron(a, g) + DAMPING * np.eye(len(a) * len(g))
    a_inverse, g_inverse = reference.factored_inverse(a, g, DAMPING)
    return np.kron(np.linalg.inv(a_inverse), np.linalg.inv(g_inverse))


@pytest.mark.parametrize(
    ("mode", "damping_mode"),
    (("decoupled", "factored"), ("decoupled", "eigen"), ("l2", "factored")),
)
def test_kfac_descends_steepest_on_the_penalty_of_its_mode(mode, damping_mode):
    activations = ("tanh", "linear")
    model = models.built(
        [keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)], (4,)
    )
    x, y = models.normal(9, 4), models.targets_of("softmax", (9, 3))
    before, after = moved(
        model,
        "softmax",
        x,
        y,
        weight_decay_mode=mode,
        damping_mode=damping_mode,
    )
    matrices = reference.layers(before)
    gradients = reference.gradients(matrices, activations, "softmax", x, y)
    factors = reference.new_factors(
        matrices, activations, "softmax", "fisher", 1.0, x
    )
    for old, new, gradient, pair in zip(
        matrices, reference.layers(after), gradients, factors, strict=True
    ):
        c = damped(*pair, damping_mode)
        theta, gradient = old.ravel(), gradient.ravel()
        # The gradient of ½β‖θ‖²_C, or of the Euclidean ½β‖θ‖².
        penalty = DECAY * (c @ theta if mode == "decoupled" else theta)
        push = RATE * (gradient + penalty)
        assert_zero(c @ (new.ravel() - theta) + push, push)


def test_kfac_penalizes_the_outputs_of_a_linear_network():
    # With Gauss-Newton blocks, exact here, Lemma 2 turns the penalty into
    # ½β(n_L E‖f‖² + damping·‖θ‖²).
    model = models.built([homogeneous.dense(5), homogeneous.dense(3)], (4,))
    x, y = models.normal(9, 4), models.targets_of("gaussian", (9, 3))
    options = {"curvature": "gauss_newton", "damping_mode": "eigen"}
    optimizer = models.attached(model, "gaussian", **options)
    blocks = models.all_dense_blocks(optimizer, "gaussian", x)
    optimizer.detach()
    j = dense_jacobian.of_parameters(model, x)
    f = dense_jacobian.outputs(model, x)
    gradient = np.einsum("bki,bk->i", j, 2 / 3 * (f - y)) / len(x)
    before, after = moved(model, "gaussian", x, y, **options)
    penalty, start = 0.0, 0
    for old, new, (block,) in zip(before, after, blocks.values(), strict=True):
        c = block + DAMPING * np.eye(len(block))
        theta = old.ravel()
        here = slice(start, start + len(theta))
        start = here.stop
        push = RATE * (gradient[here] + DECAY * c @ theta)
        assert_zero(c @ (new - old).ravel() + push, push)
        penalty += theta @ c @ theta
    norm = sum(np.sum(w**2) for w in before)
    truth = 2 * np.mean(np.sum(f**2, axis=1)) + DAMPING * norm
    assert abs(penalty / truth - 1) < TOLERANCE


def test_first_step_of_adamw_descends_steepest_in_its_diagonal_norm():
    epsilon = 2.0**-10
    generator = np.random.default_rng(0)
    theta, gradient = generator.normal(size=(2, 7))
    optimizer = tfwd.AdamW(RATE, weight_decay=DECAY, epsilon=epsilon)
    (after,) = harness.apply_all(
        optimizer, harness.make_variables([theta], "float64"), [[gradient]]
    )
    # Debiased, the first moments are g and g².
    c = np.abs(gradient) + epsilon
    push = RATE * (gradient + DECAY * c * theta)
    assert_zero(c * (after - theta) + push, push)
