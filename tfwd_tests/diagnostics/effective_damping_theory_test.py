"""Equations 13 and 14 of Zhang et al. 2019: damping against a weight's norm.

Before a BatchNormalization C(θ) = C(θ̂)/‖θ‖² and ∇L(θ) = ∇L(θ̂)/‖θ‖, so

    (C(θ) + λI)⁻¹ ∇L(θ) = ‖θ‖ (C(θ̂) + λ‖θ‖² I)⁻¹ ∇L(θ̂)

without any approximation: the step turns θ̂ at the rate η, whatever the norm,
under a damping of λ‖θ‖². (Gradients of the printed equations are those at θ̂.)
"""

import numpy as np
import pytest

from tfwd.diagnostics import layer_damping as damping_lib
from tfwd_tests.diagnostics import invariant
from tfwd_tests.kfac import models
from tfwd_tests.kfac import reference

# Sums of about a hundred float64 products, and an inverse.
TOLERANCE = 1e-9
NORM, DAMPING = 3.0, 0.125


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def dense_blocks(problem):
    """Returns C of the first layer, Fisher's and Gauss-Newton's, dense."""
    model, x = problem.model, problem.x
    # Through the batch's own mean and variance.
    j = models.jacobians(model, x, training=True)[id(problem.kernel)]
    j = j.reshape((*j.shape[:2], -1))
    hessians = [
        models.hessians(model, "softmax", curvature, x, training=True)
        for curvature in ("fisher", "gauss_newton")
    ]
    return [np.einsum("bki,bkl,blj->ij", j, h, j) / len(x) for h in hessians]


@pytest.mark.parametrize("convolutional", (False, True))
def test_dense_damped_step_at_a_norm_is_that_of_the_direction_under_more(
    convolutional,
):
    problem = invariant.problem(1.0, convolutional)
    unit, gradient = problem.theta, problem.gradient().ravel()
    at_unit = dense_blocks(problem)
    problem.kernel.assign(NORM * unit)
    scaled_gradient = problem.gradient().ravel()
    for c, scaled in zip(at_unit, dense_blocks(problem), strict=True):
        assert models.error([NORM**2 * scaled], [c]) < TOLERANCE
        # Along θ nothing changes: undamped, the block has no inverse.
        along = c @ unit.ravel()
        assert np.linalg.norm(along) < TOLERANCE * np.linalg.norm(c)
        added = DAMPING * np.eye(len(c))
        step = np.linalg.solve(scaled + added, scaled_gradient)
        truth = NORM * np.linalg.solve(c + NORM**2 * added, gradient)
        assert models.error([step], [truth]) < TOLERANCE


def kfac_step(**options):
    """Returns U at 3θ̂, and the factors, the kernel and ∇L at θ̂."""
    problem = invariant.problem(NORM)
    before = problem.theta
    optimizer = models.attached(
        problem.model,
        "softmax",
        learning_rate=1.0,
        momentum=0.0,
        factor_decay=0.0,
        **options,
    )
    start = problem.model.get_weights()
    models.step(problem.model, optimizer, "softmax", problem.x, problem.y)
    step = before - problem.theta
    problem.model.set_weights(start)
    problem.kernel.assign(before / NORM)
    # The signs that part the examples of a batch are a function of the step.
    optimizer.iterations.assign(0)
    optimizer.update_factors(problem.x)
    factors = optimizer.factors()["first"]
    optimizer.detach()
    return step, factors, problem.theta, problem.gradient()


@pytest.mark.parametrize("damping_mode", ("factored", "eigen"))
def test_step_of_kfac_at_a_norm_is_that_of_the_direction_under_more_damping(
    damping_mode,
):
    # Factored damping as well: π, too, grows with the norm.
    step, factors, unit, gradient = kfac_step(
        damping_mode=damping_mode, damping=DAMPING
    )
    added = damping_lib.effective_damping(DAMPING, NORM * unit)
    inverse = reference.INVERSES[damping_mode](*factors, added)
    truth = NORM * reference.PRODUCTS[damping_mode](inverse, gradient, added)
    assert models.error([step], [truth]) < TOLERANCE


def test_without_damping_the_norm_does_not_matter_to_kfac():
    # Equation 13: U = ‖θ‖ Û turns θ̂ by Û, at the rate η and not η/‖θ‖².
    damping = 1e-8
    step, (a, g), _, gradient = kfac_step(damping_mode="eigen", damping=damping)
    truth = NORM * np.linalg.solve(a, gradient) @ np.linalg.inv(g)
    smallest = np.linalg.eigvalsh(a)[0] * np.linalg.eigvalsh(g)[0]
    bound = NORM**2 * damping / smallest
    # The damping takes this share of U at most.
    assert bound < 1e-2
    assert models.error([step], [truth]) < bound
