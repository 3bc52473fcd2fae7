"""The theorems of Xie et al. 2022, on the optimizers themselves.

All run full-gradient descent on a quadratic loss in float64 until they stand
still, and are compared with what the theory says of the standstill.
"""

import functools

import keras
import numpy as np
import pytest

import tfwd
from tfwd.diagnostics import convergence
from tfwd.diagnostics import learning_rates
from tfwd_tests.diagnostics import quadratics
from tfwd_tests.optimizers import harness

LAMBDA = 0.2
# Of numbers near one after some hundred steps.
ROUNDING = 1e-12


@pytest.fixture(autouse=True)
def in_float64():
    with harness.float64():
        yield


def assert_close(actual, expected, tolerance=ROUNDING):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def array(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


def descended(optimizer, start, steps):
    """Returns θ₀, θ₁, ... on the quadratic that most tests share."""
    hessian, optimum, _ = quadratics.quadratic()
    return quadratics.trajectory(
        optimizer, quadratics.theta(start), hessian, optimum, steps
    )


class Alternating(keras.optimizers.schedules.LearningRateSchedule):
    """High in the first step and every other one, low in between."""

    high, low = 1.0, 0.25

    def __call__(self, step):
        return keras.ops.where(
            keras.ops.equal(step % 2, 0), self.high, self.low
        )


def test_theorem_1_independent_decay_ends_in_a_cycle():
    """Eq. 1 under an alternating η: its two points are solved for here.

    A step is θ ← Mθ + ηHθ* with M = (1 − λ')I − ηH, so θ before a high step
    satisfies θ = M_low(M_high θ + η_high Hθ*) + η_low Hθ*.
    """
    hessian, optimum, start = quadratics.quadratic()
    optimizer = tfwd.SGD(
        Alternating(), LAMBDA, momentum=0.0, weight_decay_mode="independent"
    )
    points = descended(optimizer, start, 100)
    pull = hessian @ optimum
    high, low = (
        (1 - LAMBDA) * np.eye(5) - eta * hessian
        for eta in (Alternating.high, Alternating.low)
    )
    before_high = np.linalg.solve(
        np.eye(5) - low @ high,
        low @ (Alternating.high * pull) + Alternating.low * pull,
    )
    before_low = high @ before_high + Alternating.high * pull
    assert_close(points[-1], before_high)
    assert_close(points[-2], before_low)
    assert np.linalg.norm(before_high - before_low) > 0.1


def test_theorem_1_decoupled_decay_settles_to_machine_precision():
    hessian, optimum, start = quadratics.quadratic()
    optimizer = tfwd.SGDW(Alternating(), LAMBDA, momentum=0.0)
    points = descended(optimizer, start, 100)
    assert np.abs(np.diff(points[-10:], axis=0)).max() <= 1e-14
    assert_close(
        points[-1] - optimum,
        -LAMBDA * np.linalg.inv(hessian + LAMBDA * np.eye(5)) @ optimum,
    )


def test_theorem_2_holds_at_every_step_of_a_schedule():
    hessian, optimum, start = quadratics.quadratic()
    optimizer = tfwd.SGD(Alternating(), LAMBDA, momentum=0.0)
    points = descended(optimizer, start, 30)
    rates = [Alternating.high, Alternating.low] * 15
    found = convergence.expected_deviation(
        hessian, optimum, start, rates, LAMBDA
    )
    assert_close(points - optimum, found)


def test_corollary_2_times_the_approach_along_an_eigenvector():
    hessian, optimum, _ = quadratics.quadratic()
    last = convergence.bias(hessian, optimum, LAMBDA) + optimum
    direction = quadratics.basis()[:, 1]
    optimizer = tfwd.SGDW(0.1, LAMBDA, momentum=0.0)
    points = descended(optimizer, last + direction, 20)
    steps = convergence.time_constant(quadratics.EIGENVALUES[1], 0.1, LAMBDA)
    truth = np.exp(-np.arange(21) / steps)[:, None] * direction
    assert_close(points - last, truth)


def test_l2_shrinks_the_minimum_along_the_eigenvectors():
    hessian, optimum, start = quadratics.quadratic()
    optimizer = tfwd.SGD(0.5, LAMBDA, momentum=0.5)
    last = descended(optimizer, start, 120)[-1]
    found = quadratics.basis().T @ last
    kept = convergence.shrinkage(quadratics.EIGENVALUES, LAMBDA)
    truth = kept * (quadratics.basis().T @ optimum)
    assert_close(found, truth)


@pytest.mark.parametrize(
    ("cls", "strength"),
    [(tfwd.SGDS, 1.0), (tfwd.SGDW, 0.5 / 0.75)],
    ids=["stable", "decoupled"],
)
def test_momentum_weakens_decoupled_decay_and_not_stable_decay(cls, strength):
    """D = (1 − momentum)/(1 − dampening) for SGDW, of Eq. 22 for SGDS."""
    hessian, optimum, start = quadratics.quadratic()
    optimizer = cls(0.5, LAMBDA, momentum=0.5, dampening=0.25)
    last = descended(optimizer, start, 120)[-1]
    truth = convergence.bias(hessian, optimum, LAMBDA, strength)
    assert_close(last - optimum, truth)


@functools.cache
def settled_under(size, mode):
    """Returns θ − θ* of Adam with a v that hardly moves, and v at the end."""
    hessian, optimum, start = quadratics.quadratic()
    optimizer = tfwd.Adam(
        0.7 * size**0.5,
        LAMBDA,
        beta_1=0.5,
        beta_2=1 - 2.0**-24,
        epsilon=0.0,
        weight_decay_mode=mode,
    )
    variable = quadratics.theta(start)
    optimizer.build([variable])
    # So late that nothing is left of the zeros that m and v began with.
    optimizer.iterations.assign(2**30)
    optimizer.velocities[0].assign(size * np.array([0.5, 1.0, 1.5, 3.0, 4.0]))
    points = quadratics.trajectory(optimizer, variable, hessian, optimum, 120)
    return points[-1] - optimum, array(optimizer.velocities[0])


@pytest.mark.parametrize("mode", ["l2", "decoupled", "elementwise", "stable"])
def test_adam_settles_where_eq_9_to_11_say_for_its_second_moment(mode):
    hessian, optimum, _ = quadratics.quadratic()
    found, v = settled_under(1.0, mode)
    strength = convergence.adam_relative_decay(mode, v)
    truth = convergence.bias(hessian, optimum, LAMBDA, strength)
    # v still moves by some 2⁻²⁴ of itself in a step, and θ follows. Another
    # D would be off by 0.05 or more.
    assert_close(found, truth, 1e-7)


def test_rescaling_the_second_moment_moves_adamw_and_not_adams():
    def distance(mode):
        before, _ = settled_under(1.0, mode)
        after, _ = settled_under(9.0, mode)
        return np.abs(after - before).max()

    # The two v have moved by up to 120·2⁻²⁴ of themselves, not alike.
    assert distance("stable") < 1e-6
    assert distance("decoupled") > 0.1


# Without noise v̂ tends to g², and the fixed points are equations in θ alone.
# Far minima, so that no gradient vanishes where the decay balances it.
CURVATURES = np.array([0.5, 1.0, 2.0])
FAR = np.array([3.0, -4.0, 5.0])


def settled(optimizer, hessian, optimum):
    variable = quadratics.theta(0.5 * optimum)
    points = quadratics.trajectory(optimizer, variable, hessian, optimum, 350)
    return points[-1], array(optimizer.velocities[0])


def test_adamw_without_noise_ends_at_weights_of_one_over_lambda():
    """sign(g) + λθ = 0, whatever H is: every weight has the size 1/λ."""
    optimizer = tfwd.AdamW(0.2, 0.8, beta_2=0.9, epsilon=0.0)
    hessian = np.diag(CURVATURES) + 0.1
    last, v = settled(optimizer, hessian, FAR)
    assert_close(last, np.sign(FAR) / 0.8)
    truth = convergence.bias(hessian, FAR, 0.8, np.sqrt(v))
    assert_close(last - FAR, truth)


def test_adams_without_noise_solves_its_own_equation():
    """sign(g) + λ v̄^(−½) θ = 0: all weights have one size c = v̄^½/λ.

    With g = H(c − |θ*|) along the axes, λ²c² = mean(H²(|θ*| − c)²).
    """
    lam = 3.0
    optimizer = tfwd.AdamS(0.2, lam, beta_2=0.9, epsilon=0.0)
    last, v = settled(optimizer, np.diag(CURVATURES), FAR)
    square = CURVATURES**2
    coefficients = [
        lam**2 - square.mean(),
        2 * (square * np.abs(FAR)).mean(),
        -(square * FAR**2).mean(),
    ]
    size = np.roots(coefficients).max()
    assert 0 < size < np.abs(FAR).min()
    assert_close(last, size * np.sign(FAR))
    strength = convergence.adam_relative_decay("stable", v)
    truth = convergence.bias(np.diag(CURVATURES), FAR, lam, strength)
    assert_close(last - FAR, truth)


def test_elementwise_decay_without_noise_ends_at_the_minimum_of_l2():
    """Eq. 10: v̂^(−½)(g + λθ) = 0 where the penalized loss has its minimum."""
    optimizer = tfwd.Adam(
        0.2, 1.0, beta_2=0.9, epsilon=0.0, weight_decay_mode="elementwise"
    )
    hessian = np.diag(CURVATURES) + 0.1
    last, _ = settled(optimizer, hessian, FAR)
    truth = np.linalg.solve(hessian + np.eye(3), hessian @ FAR)
    assert_close(last, truth)


def test_expected_steps_leave_one_eth_of_a_weight():
    start = np.array([1.0, -3.0])
    rate, lam = 0.05, 0.4
    steps = learning_rates.expected_steps(rate, lam)
    assert steps == pytest.approx(50)
    optimizer = tfwd.SGDW(rate, lam)
    points = quadratics.trajectory(
        optimizer,
        quadratics.theta(start),
        np.zeros((2, 2)),
        np.zeros(2),
        round(steps),
    )
    # (1 − x)^(1/x) is 1/e to a relative x/2 + O(x²).
    assert_close(
        points[-1], start * (1 - rate * lam / 2) / np.e, (rate * lam) ** 2
    )
