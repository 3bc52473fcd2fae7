"""Formulas of convergence against the recursions they solve."""

import numpy as np
import pytest

from tfwd.diagnostics import convergence
from tfwd_tests.diagnostics import quadratics

LAMBDA = 0.2
MODES = ("l2", "decoupled", "elementwise", "stable")


def rates(steps):
    """Returns a schedule with a warm-up, a drop and a restart."""
    return [(0.1, 0.4, 1.0, 0.25)[k % 7 % 4] for k in range(steps)]


def descent(hessian, optimum, start, learning_rates, noise):
    """Returns θ − θ* after each step of SGD with decay λ, [steps + 1, ...]."""
    theta = np.broadcast_to(start, noise.shape[1:])
    deviations = [theta - optimum]
    for eta, xi in zip(learning_rates, noise, strict=True):
        gradient = (theta - optimum) @ hessian + xi
        theta = theta - eta * gradient - eta * LAMBDA * theta
        deviations.append(theta - optimum)
    return np.stack(deviations)


def test_theorem_2_holds_at_every_step_of_a_schedule():
    hessian, optimum, start = quadratics.quadratic()
    found = convergence.expected_deviation(
        hessian, optimum, start, rates(30), LAMBDA
    )
    truth = descent(hessian, optimum, start, rates(30), np.zeros((30, 5)))
    assert found.shape == (31, 5)
    # Rounding of 30 steps at numbers near one.
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-13)


def test_theorem_2_read_without_brackets_is_wrong():
    hessian, optimum, start = quadratics.quadratic()
    truth = descent(hessian, optimum, start, rates(30), np.zeros((30, 5)))
    decayed = hessian + LAMBDA * np.eye(5)
    solution = np.linalg.solve(decayed, optimum)
    product, bare = np.eye(5), []
    for eta in [*rates(30), 0.0]:
        bare.append(product @ start - hessian @ solution - LAMBDA * solution)
        product = (np.eye(5) - eta * decayed) @ product
    assert np.abs(truth - bare).max() > 0.5


def test_theorem_2_is_the_mean_of_runs_with_noise():
    hessian, optimum, start = quadratics.quadratic()
    noise = np.random.default_rng(1).normal(size=(30, 20_000, 5))
    runs = descent(hessian, optimum, start, rates(30), noise)
    found = convergence.expected_deviation(
        hessian, optimum, start, rates(30), LAMBDA
    )
    errors = runs.std(axis=1, ddof=1)[1:] / np.sqrt(runs.shape[1])
    distance = np.abs(runs.mean(axis=1) - found)[1:]
    # Of 150 normal numbers one exceeds five in 10,000 trials.
    assert (distance / errors).max() < 5
    # And the runs could tell: the decay alone moves the mean by far more.
    undecayed = convergence.expected_deviation(
        hessian, optimum, start, rates(30), 0.0
    )
    assert (np.abs(found - undecayed)[-1] / errors[-1]).max() > 20


def test_bias_along_the_axes_is_corollary_1():
    curvature, optimum = np.array([0.1, 1.0, 10.0]), np.array([3.0, -2.0, 1.0])
    found = convergence.bias(np.diag(curvature), optimum, 0.1)
    np.testing.assert_allclose(found, [-1.5, 2 / 11, -1 / 101], rtol=1e-14)


def test_expected_deviation_ends_at_the_bias_whatever_the_start():
    hessian, optimum, start = quadratics.quadratic()
    truth = convergence.bias(hessian, optimum, LAMBDA)
    for theta in (start, 100 * start):
        found = convergence.expected_deviation(
            hessian, optimum, theta, [1.0] * 60, LAMBDA
        )
        np.testing.assert_allclose(found[-1], truth, rtol=1e-13)


def test_without_decay_there_is_no_bias():
    hessian, optimum, start = quadratics.quadratic()
    assert not convergence.bias(hessian, optimum, 0.0).any()
    found = convergence.expected_deviation(
        hessian, optimum, start, [1.0] * 90, 0.0
    )
    np.testing.assert_allclose(found[-1], 0, atol=1e-15)


def test_decay_keeps_directions_of_much_curvature():
    found = convergence.shrinkage([0.0, 1e-3, 0.1, 10.0], 0.1)
    np.testing.assert_allclose(found, [0, 1 / 101, 0.5, 100 / 101], rtol=1e-14)


@pytest.mark.parametrize("rate", [0.01, 0.5, 1.5, 1.9])
def test_distance_falls_by_e_in_each_time_constant(rate):
    # At η(H + λ) = 1.5 and 1.9 the weight jumps over the fixed point.
    eigenvalue, optimum, theta = 0.8, 2.0, -1.0
    fixed = eigenvalue / (eigenvalue + LAMBDA) * optimum
    distances = [theta - fixed]
    for _ in range(25):
        theta -= rate * (eigenvalue * (theta - optimum) + LAMBDA * theta)
        distances.append(theta - fixed)
    steps = convergence.time_constant(eigenvalue, rate, LAMBDA)
    truth = np.exp(-np.arange(26) / steps)
    np.testing.assert_allclose(
        np.abs(np.divide(distances, distances[0])), truth, rtol=0, atol=1e-14
    )


def test_time_constant_of_small_steps_is_corollary_2():
    """−1/log(1 − x) = 1/x − 1/2 − x/12 + ..., so 1/x to a relative x/2."""
    curvature = np.array([0.0, 1e-3, 1.0])
    for rate in (1e-3, 1e-6, 1e-9):
        found = convergence.time_constant(curvature, rate, 1e-3)
        share = rate * (curvature + 1e-3)
        error = 1 - found * share
        np.testing.assert_allclose(error, share / 2, rtol=1e-3, atol=1e-15)


def test_one_step_settles_where_the_rate_inverts_the_curvature():
    assert convergence.time_constant(1.5, 0.5, 0.5) == 0


@pytest.mark.parametrize(
    ("eigenvalue", "rate", "decay"),
    [(3.5, 0.5, 0.5), (9.0, 0.5, 0.0), (1.0, 0.0, 0.1), (-0.2, 0.1, 0.1)],
    ids=["edge", "diverging", "no rate", "saddle"],
)
def test_what_does_not_shrink_has_an_infinite_time_constant(
    eigenvalue, rate, decay
):
    steps = convergence.time_constant(eigenvalue, rate, decay)
    assert steps == float("inf")


def settled(hessian, optimum, v, scale):
    """Returns θ − θ* of θ ← θ − η v^(−½)∇L − η·scale·λθ after many steps."""
    theta = np.zeros_like(optimum)
    for _ in range(1500):
        step = hessian @ (theta - optimum) / np.sqrt(v) + scale * LAMBDA * theta
        theta = theta - 0.2 * step
    return theta - optimum


@pytest.mark.parametrize("size", [0.25, 4.0])
@pytest.mark.parametrize("mode", ["decoupled", "elementwise", "stable"])
def test_fixed_points_of_eq_9_to_11_under_a_given_second_moment(mode, size):
    hessian, optimum, _ = quadratics.quadratic()
    v = size * np.array([0.5, 1.0, 1.5, 3.0, 4.0])
    scale = {
        "decoupled": 1.0,
        "elementwise": 1 / np.sqrt(v),
        "stable": 1 / np.sqrt(v.mean()),
    }[mode]
    strength = convergence.adam_relative_decay(mode, v)
    found = convergence.bias(hessian, optimum, LAMBDA, strength)
    truth = settled(hessian, optimum, v, scale)
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-13)


def test_adamw_s_bias_as_often_written_needs_a_diagonal_hessian():
    hessian, optimum, _ = quadratics.quadratic()
    v = np.array([0.5, 1.0, 1.5, 3.0, 4.0])

    def written(matrix):
        root = np.diag(np.sqrt(v))
        inverse = np.linalg.inv(matrix + LAMBDA * root)
        return -LAMBDA * root @ inverse @ optimum

    def found(matrix):
        return convergence.bias(matrix, optimum, LAMBDA, np.sqrt(v))

    diagonal = np.diag(quadratics.EIGENVALUES)
    np.testing.assert_allclose(found(diagonal), written(diagonal), rtol=1e-13)
    assert np.abs(found(hessian) - written(hessian)).max() > 0.03


def test_only_adamw_moves_when_the_whole_second_moment_is_rescaled():
    v = np.random.default_rng(0).exponential(size=5)
    for mode in MODES:
        before, after = (
            convergence.adam_relative_decay(mode, second_moment)
            for second_moment in (v, 100 * v)
        )
        factor = 10 if mode == "decoupled" else 1
        np.testing.assert_allclose(after, factor * before, rtol=1e-14)


@pytest.mark.parametrize("adaptivity", [0.0, 0.25, 1.0])
def test_adaptivity_is_the_power_of_the_mean(adaptivity):
    found = convergence.adam_relative_decay("stable", [4.0, 28.0], adaptivity)
    truth = np.array([2.0, 28**0.5]) / 16**adaptivity
    np.testing.assert_allclose(found, truth, rtol=1e-14)


def test_nothing_decays_before_the_first_gradient():
    for mode in ("decoupled", "stable"):
        assert not convergence.adam_relative_decay(mode, np.zeros(3)).any()


IDENTITY = np.eye(2)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (
            convergence.bias,
            (np.ones((2, 3)), np.ones(2), 0.1),
            r"`hessian` must be a square .* shape \(2, 3\)$",
        ),
        (
            convergence.expected_deviation,
            ([[1.0, 0.5], [0.0, 1.0]], np.ones(2), np.ones(2), [0.1], 0.1),
            r"`hessian` must be symmetric\. .* differ by 0.5$",
        ),
        (
            convergence.bias,
            (-IDENTITY, np.ones(2), 0.1),
            r"must be positive definite\. .* eigenvalue of -0.9, .*=0.1$",
        ),
        (
            convergence.expected_deviation,
            (0 * IDENTITY, np.ones(2), np.ones(2), [0.1], 0.0),
            r"must be positive definite\. .* weight_decay=0.0$",
        ),
        (
            convergence.bias,
            (IDENTITY, np.ones(2), -0.1),
            r"`weight_decay` must be .* Received: weight_decay=-0.1$",
        ),
        (
            convergence.shrinkage,
            ([1.0], -0.1),
            r"`weight_decay` must be .* Received: weight_decay=-0.1$",
        ),
        (
            convergence.time_constant,
            (1.0, -0.1, 0.0),
            r"`learning_rate` must be .* Received: learning_rate=-0.1$",
        ),
        (
            convergence.adam_relative_decay,
            ("independent", [1.0]),
            r"`mode` must be one of .* Received: mode=independent$",
        ),
        (
            convergence.adam_relative_decay,
            ("stable", [1.0], 2.0),
            r"`adaptivity` must be .* Received: adaptivity=2.0$",
        ),
    ],
)
def test_senseless_values_are_refused_with_the_rule(
    function, arguments, message
):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
