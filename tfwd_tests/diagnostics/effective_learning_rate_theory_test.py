"""Equations 8 and 9 of Zhang et al. 2019: the rate of a weight's direction.

Before a BatchNormalization nothing but θ̂ = θ/‖θ‖ matters, so ∇L(cθ) = ∇L(θ)/c
and ⟨∇L(θ), θ⟩ = 0. A step of SGD of rate η on θ turns θ̂ like one of rate
η/‖θ‖² on θ̂ itself, with or without weight decay, up to O(η²).
"""

import functools

import keras
import numpy as np
import pytest

import tfwd
from tfwd.diagnostics import learning_rates
from tfwd_tests.diagnostics import dense_jacobian
from tfwd_tests.diagnostics import invariant
from tfwd_tests.kfac import models
from tfwd_tests.kfac import reference

# Sums of about a hundred float64 products on both sides.
TOLERANCE = 1e-10
NORM = 3.0


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


@pytest.mark.parametrize("convolutional", (False, True))
def test_gradient_is_orthogonal_to_the_weight_and_inverse_to_its_norm(
    convolutional,
):
    unit, at_unit, scaled = direction_and_gradients(convolutional)
    assert models.error([NORM * scaled], [at_unit]) < TOLERANCE
    size = np.linalg.norm(at_unit)
    assert abs(np.sum(at_unit * unit)) < TOLERANCE * size


@functools.cache
def direction_and_gradients(convolutional=False):
    """Returns θ̂, ∇L(θ̂) and ∇L(3θ̂)."""
    problem = invariant.problem(convolutional=convolutional)
    unit, gradient = problem.theta, problem.gradient()
    problem.kernel.assign(NORM * unit)
    return unit, gradient, problem.gradient()


def sgd_step(rate, decay):
    """Returns θ after a step of SGDW from 3θ̂."""
    unit, _, scaled = direction_and_gradients()
    kernel = keras.Variable(NORM * unit, dtype="float64")
    optimizer = tfwd.SGDW(rate, weight_decay=decay, momentum=0.0)
    optimizer.apply([keras.ops.convert_to_tensor(scaled)], [kernel])
    return keras.ops.convert_to_numpy(kernel.value)


@pytest.mark.parametrize("decay", (0.0, 0.25))
def test_a_step_of_sgd_turns_a_weight_at_its_effective_rate(decay):
    # Equation 8. There is no third order without decay; with it, ηλ adds to
    # the ratio of the errors four times itself at most, 0.03.
    unit, gradient, _ = direction_and_gradients()
    errors = []
    for rate in (2.0**-5, 2.0**-6):
        after = sgd_step(rate, decay)
        effective = learning_rates.effective_learning_rate(rate, NORM * unit)
        expected = unit - effective * gradient
        errors.append(np.linalg.norm(after / np.linalg.norm(after) - expected))
    assert errors[0] > 1e-8
    assert 3.96 < errors[0] / errors[1] < 4.04


@pytest.mark.parametrize("decay", (0.0, 0.25))
def test_the_turn_and_the_norm_after_a_step_of_sgd_are_known_exactly(decay):
    # θ and ∇L are orthogonal: the norm grows by itself, unless decay is there
    # to keep the effective rate up. Decay does not turn θ̂, but is part of its
    # rate: η/((1 − ηλ)‖θ‖²).
    rate = 2.0
    unit, gradient, _ = direction_and_gradients()
    after = sgd_step(rate, decay)
    kept = 1 - rate * decay
    squared = (kept * NORM) ** 2 + (rate / NORM) ** 2 * np.sum(gradient**2)
    assert abs(np.sum(after**2) / squared - 1) < TOLERANCE
    turned = unit - rate / (kept * NORM**2) * gradient
    turned /= np.linalg.norm(turned)
    assert models.error([after / np.linalg.norm(after)], [turned]) < TOLERANCE


def test_a_preconditioned_step_turns_a_weight_at_its_effective_rate():
    # Equation 9, for the C that KFAC has at θ, Kronecker and damped:
    # θ̂ − η/‖θ‖² (I − θ̂θ̂ᵀ) C⁻¹ ∇L(θ̂). C⁻¹∇L is not orthogonal to θ.
    unit, gradient, scaled = direction_and_gradients()
    problem = invariant.problem(NORM)
    start, damping = problem.model.get_weights(), 0.125
    optimizer = models.attached(
        problem.model,
        "softmax",
        weight_decay=0.25,
        damping=damping,
        momentum=0.0,
    )
    optimizer.update_factors(problem.x)
    optimizer.update_inverses()
    a_inverse, g_inverse = reference.factored_inverse(
        *optimizer.factors()["first"], damping
    )
    u = a_inverse @ gradient @ g_inverse
    tangent = u - np.sum(unit * u) * unit
    variables = problem.model.trainable_variables
    gradients = [keras.ops.zeros(v.shape, v.dtype) for v in variables]
    gradients[0] = keras.ops.convert_to_tensor(scaled)
    errors = []
    for rate in (2.0**-6, 2.0**-7):
        problem.model.set_weights(start)
        optimizer.learning_rate = rate
        optimizer.apply(gradients, variables)
        actual = problem.theta / np.linalg.norm(problem.theta)
        expected = unit - rate / NORM**2 * tangent
        errors.append(np.linalg.norm(actual - expected))
    optimizer.detach()
    assert errors[0] > 1e-8
    # The third order is of the order of ηλ and of the length of the turn.
    assert 3.9 < errors[0] / errors[1] < 4.1


@pytest.mark.parametrize("name", ("SGDW", "SGDS", "AdamW"))
def test_decay_without_a_gradient_scales_the_logits_and_nothing_else(name):
    # Of the normalized layer only the norm changes; of the last, z − b.
    problem = invariant.problem()
    model, x = problem.model, problem.x
    before = dense_jacobian.outputs(model, x, training=True)
    bias = dense_jacobian.values(model)[-1]
    norms = [np.linalg.norm(w) for w in dense_jacobian.values(model)]
    momentum = {"momentum": 0.0} if name.startswith("SGD") else {}
    optimizer = getattr(tfwd, name)(
        0.25,
        weight_decay=0.5,
        exclude_from_weight_decay=["bias$"],
        **momentum,
    )
    variables = model.trainable_variables
    optimizer.apply(
        [keras.ops.zeros_like(v.value) for v in variables], variables
    )
    after = dense_jacobian.outputs(model, x, training=True)
    shrunk = [np.linalg.norm(w) for w in dense_jacobian.values(model)]
    kept = shrunk[0] / norms[0]
    assert kept < 0.9
    assert models.error([after - bias], [kept * (before - bias)]) < TOLERANCE
