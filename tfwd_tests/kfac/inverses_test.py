"""Units of inversion, and inversions that succeed, are repeated, or fail."""

import numpy as np
import pytest
from keras import ops

from tfwd.kfac import inverses as inverses_lib
from tfwd_tests.kfac import compiling
from tfwd_tests.optimizers import harness

DAMPING = 0.01
MODES = inverses_lib.DAMPING_MODES
# Relative, for condition numbers below 1e3.
TOLERANCES = {"float32": 1e-4, "float64": 1e-12}


def factor_of(eigenvalues, seed=0):
    """A symmetric matrix [n, n] with given eigenvalues."""
    generator = np.random.default_rng(seed)
    size = len(eigenvalues)
    q, _ = np.linalg.qr(generator.normal(size=(size, size)))
    return (q * eigenvalues) @ q.T


def pi_of(a, g):
    """π, by the means of the diagonals; a vector is a diagonal."""
    a, g = (np.diag(x) if np.ndim(x) == 1 else x for x in (a, g))
    return np.sqrt((np.trace(a) / len(a)) / (np.trace(g) / len(g)))


def inverted(factors, number, mode, dtype="float32", way="eager"):
    """Calls the library; returns arrays and two bools."""
    diagonals = tuple(np.ndim(factor) == 1 for factor in factors)
    shapes = tuple(np.shape(factor) for factor in factors)
    unit = inverses_lib.units_of([shapes])[number]

    def compute(damping, *tensors):
        return inverses_lib.inverted(unit, tensors, diagonals, damping, mode)

    damping = ops.convert_to_tensor(DAMPING, dtype=dtype)
    tensors = [ops.convert_to_tensor(f, dtype=dtype) for f in factors]
    values, failed, failed_again = compiling.run(
        way, compute, damping, *tensors
    )
    arrays = [ops.convert_to_numpy(value) for value in values]
    assert tuple(a.shape for a in arrays) == unit.state_shapes(mode)
    assert {a.dtype for a in arrays} == {np.dtype(dtype)}
    return arrays, bool(failed), bool(failed_again)


def eigen_tolerance(dtype, way):
    """XLA's own eigenvalues on a CPU stop at 1e-6, in float64 too."""
    return max(TOLERANCES[dtype], 2e-6 if way == "xla" else 0)


def assert_close(actual, expected, tolerance):
    error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
    assert error < tolerance


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    if request.param == "float32":
        yield request.param
    else:
        with harness.float64():
            yield request.param


def test_units_are_the_factors_of_the_blocks_in_order():
    shapes = [((7, 7), (3, 3)), ((100,), (4, 4)), ((6, 2, 2),)]
    units = inverses_lib.units_of(shapes)
    assert [(u.block, u.factor, u.shape) for u in units] == [
        (0, 0, (7, 7)),
        (0, 1, (3, 3)),
        (1, 0, (100,)),
        (1, 1, (4, 4)),
        (2, 0, (6, 2, 2)),
    ]
    assert [u.is_diagonal for u in units] == [False, False, True, False, False]
    # n³ for each of the groups; a diagonal is n divisions.
    assert [u.cost for u in units] == [343.0, 27.0, 100.0, 64.0, 48.0]


def test_an_eigendecomposition_is_kept_with_its_eigenvalues():
    units = inverses_lib.units_of([((6, 2, 2), (9,))])
    assert units[0].state_shapes("factored") == ((6, 2, 2),)
    assert units[0].state_shapes("eigen") == ((6, 2, 2), (6, 2))
    for mode in MODES:
        assert units[1].state_shapes(mode) == ((9,),)


@pytest.mark.parametrize("way", compiling.WAYS)
@pytest.mark.parametrize("number", [0, 1])
def test_a_factor_is_inverted_with_its_share_of_the_damping(way, number, dtype):
    a = factor_of([3.0, 1.0, 0.5, 0.1])
    g = factor_of([0.04, 0.01, 0.0], seed=1)
    pi = pi_of(a, g)
    added = (pi * np.sqrt(DAMPING), np.sqrt(DAMPING) / pi)[number]
    factor = (a, g)[number]
    (inverse,), *failures = inverted((a, g), number, "factored", dtype, way)
    assert failures == [False, False]
    expected = np.linalg.inv(factor + added * np.eye(len(factor)))
    assert_close(inverse, expected, TOLERANCES[dtype])


def test_a_diagonal_factor_is_inverted_element_by_element(dtype):
    a = np.array([0.7, 0.3, 0.0])
    g = factor_of([0.04, 0.01], seed=1)
    (inverse,), *failures = inverted((a, g), 0, "factored", dtype)
    assert failures == [False, False]
    expected = 1 / (a + pi_of(a, g) * np.sqrt(DAMPING))
    assert_close(inverse, expected, TOLERANCES[dtype])


def test_a_diagonal_factor_has_no_eigenvectors(dtype):
    a = np.array([0.7, 0.3, 0.0])
    (kept,), *failures = inverted((a, np.eye(2)), 0, "eigen", dtype)
    assert failures == [False, False]
    assert_close(kept, a, TOLERANCES[dtype])


def test_the_only_factor_of_a_block_gets_the_whole_damping(dtype):
    f = np.stack([factor_of([2.0, 0.1], seed) for seed in range(5)])
    (inverse,), *failures = inverted((f,), 0, "factored", dtype)
    assert failures == [False, False]
    expected = np.linalg.inv(f + DAMPING * np.eye(2))
    assert_close(inverse, expected, TOLERANCES[dtype])


def test_every_group_has_its_own_damping(dtype):
    a = np.stack([s * factor_of([2.0, 0.1]) for s in (1.0, 10.0, 0.1)])
    g = np.stack([factor_of([s, 0.2], seed=1) for s in (1.0, 0.1, 3.0)])
    (inverse,), *failures = inverted((a, g), 1, "factored", dtype)
    assert failures == [False, False]
    expected = [
        np.linalg.inv(b + np.sqrt(DAMPING) / pi_of(x, b) * np.eye(2))
        for x, b in zip(a, g, strict=True)
    ]
    assert_close(inverse, np.stack(expected), TOLERANCES[dtype])


@pytest.mark.parametrize("way", compiling.WAYS)
def test_eigenvectors_and_values_give_the_factor_back(way, dtype):
    f = np.stack([factor_of([2.0, 0.3, 0.1], seed) for seed in range(4)])
    (q, d), *failures = inverted((f,), 0, "eigen", dtype, way)
    assert failures == [False, False]
    back = (q * d[..., None, :]) @ np.swapaxes(q, -1, -2)
    tolerance = eigen_tolerance(dtype, way)
    assert_close(back, f, tolerance)
    identity = np.broadcast_to(np.eye(3), f.shape)
    assert_close(np.swapaxes(q, -1, -2) @ q, identity, tolerance)


@pytest.mark.parametrize("way", compiling.WAYS)
def test_negative_eigenvalues_are_clipped_at_zero(way, dtype):
    """Rounding makes them; the damped product must not change its sign."""
    f = factor_of([2.0, 0.5, -1e-3, -1e-6])
    (q, d), *failures = inverted((f,), 0, "eigen", dtype, way)
    assert failures == [False, False]
    assert d.min() == 0.0
    np.testing.assert_array_equal(np.count_nonzero(d), 2)
    tolerance = eigen_tolerance(dtype, way)
    assert_close(np.sort(d), [0, 0, 0.5, 2.0], tolerance)
    clipped = factor_of([2.0, 0.5, 0.0, 0.0])
    assert_close((q * d) @ q.T, clipped, tolerance)


@pytest.mark.parametrize("way", compiling.WAYS)
def test_a_slightly_negative_eigenvalue_is_inverted_at_the_second_attempt(
    way, dtype
):
    """−0.03 needs more than λ = 0.01 and less than the 10 λ of the retry."""
    f = factor_of([2.0, 0.5, 0.2, -0.03])
    (inverse,), *failures = inverted((f,), 0, "factored", dtype, way)
    assert failures == [True, False]
    added = 10 * DAMPING + 1e-6 * np.trace(f)
    expected = np.linalg.inv(f + added * np.eye(4))
    assert_close(inverse, expected, TOLERANCES[dtype])


def test_the_retry_covers_the_rounding_of_a_factor_without_damping():
    """As without damping: 1e-6 of the trace is more than float32 rounds.

    The factor has rank 5 of 100; its zero eigenvalues are of either sign.
    """
    rows = np.random.default_rng(0).normal(size=(5, 100)).astype("float32")
    f = rows.T @ rows / 5

    def compute(damping, f):
        unit = inverses_lib.Unit(0, 0, f.shape)
        return inverses_lib.inverted(unit, [f], (False,), damping, "factored")

    (inverse,), failed, failed_again = compute(
        ops.convert_to_tensor(0.0), ops.convert_to_tensor(f)
    )
    assert bool(failed)
    assert not bool(failed_again)
    expected = 1e-6 * np.trace(f.astype("float64"))
    # Outside the range of the rows the inverse is that of the damping.
    outside = np.linalg.svd(rows.astype("float64"))[2][5:]
    projected = outside @ ops.convert_to_numpy(inverse) @ outside.T
    np.testing.assert_allclose(
        np.diag(projected) * expected, 1.0, rtol=0, atol=0.3
    )


@pytest.mark.parametrize("way", compiling.WAYS)
def test_one_group_that_fails_is_retried_with_the_others(way):
    good = factor_of([2.0, 0.5, 0.2])
    f = np.stack([good, factor_of([2.0, 0.5, -0.03]), 2 * good])
    (inverse,), *failures = inverted((f,), 0, "factored", "float32", way)
    assert failures == [True, False]
    traces = np.trace(f, axis1=1, axis2=2)[:, None, None]
    added = (10 * DAMPING + 1e-6 * traces) * np.eye(3)
    assert_close(inverse, np.linalg.inv(f + added), TOLERANCES["float32"])


@pytest.mark.parametrize("way", compiling.WAYS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_factor_that_is_not_finite_fails_for_good(way, mode, bad):
    f = factor_of([2.0, 0.5, 0.2])
    f[1, 1] = bad
    _, *failures = inverted((f, np.eye(2)), 0, mode, "float32", way)
    assert failures == [True, True]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_partner_of_a_factor_that_is_not_finite_fails_too(bad):
    """Its damping is by the traces of both; alone it would be 1e5 or 0."""
    f = np.eye(3)
    f[1, 1] = bad
    _, *failures = inverted((f, np.eye(2)), 1, "factored")
    assert failures == [True, True]


@pytest.mark.parametrize("mode", MODES)
def test_a_diagonal_that_is_not_finite_fails_for_good(mode):
    factors = (np.array([0.5, np.nan]), np.eye(2))
    _, *failures = inverted(factors, 0, mode)
    assert failures == [True, True]


def test_a_factor_far_from_positive_fails_for_good():
    f = factor_of([2.0, 0.5, -1.0])
    _, *failures = inverted((f,), 0, "factored")
    assert failures == [True, True]
