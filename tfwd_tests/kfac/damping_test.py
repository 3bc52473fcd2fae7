"""Damped inverses against inverses of the Kronecker product itself.

In float64; V is flattened by rows, so that (A ⊗ G) vec V = vec(A V G).
"""

import numpy as np
import pytest
from keras import ops

from tfwd.kfac import backend
from tfwd.kfac import damping as damping_lib
from tfwd_tests.kfac import compiling
from tfwd_tests.optimizers import harness

N, M = 6, 4
DAMPING = 0.03
# Rounding of float64 times the condition number, below 1e4.
TOLERANCE = 1e-10


def random_factor(size, groups=(), scale=1.0, seed=0):
    """A positive definite matrix with eigenvalues over two decades."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(*groups, 3 * size, size))
    rows = rows * 10.0 ** generator.uniform(-1, 0, size=size)
    return scale * np.swapaxes(rows, -1, -2) @ rows / (3 * size)


def random_gradient(*shape):
    return np.random.default_rng(5).normal(size=shape)


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array), dtype="float64")


def materialised(a, g, damping):
    """Returns (A ⊗ G + λI)⁻¹."""
    full = np.kron(a, g)
    return np.linalg.inv(full + damping * np.eye(len(full)))


def factored(a, g, damping):
    """Returns ((A + π√λ I) ⊗ (G + √λ/π I))⁻¹ of two matrices."""
    n, m = len(a), len(g)
    pi = np.sqrt((np.trace(a) / n) / (np.trace(g) / m))
    a = a + pi * np.sqrt(damping) * np.eye(n)
    g = g + np.sqrt(damping) / pi * np.eye(m)
    return np.linalg.inv(np.kron(a, g))


def spatial(a, s, positions, gradient, damping):
    """Returns C⁻¹V as the published code of Zhang et al. 2019 has it.

    C = T·A ⊗ S, with r = √(λ/T) in the place of √λ and the result over T.
    """
    n, m = len(a), len(s)
    pi = np.sqrt((np.trace(a) / n) / (np.trace(s) / m))
    r = np.sqrt(damping / positions)
    left = np.linalg.inv(a + pi * r * np.eye(n))
    right = np.linalg.inv(s + r / pi * np.eye(m))
    return left @ gradient @ right / positions


def applied(matrix, gradient):
    return (matrix @ gradient.ravel()).reshape(gradient.shape)


def library_factored(a, g, gradient, damping=DAMPING, is_diagonal=False):
    """The factored path of the library, inverses by its own Cholesky."""
    inverse = backend.current.cholesky_inverse
    a, g, gradient, damping = map(tensor, (a, g, gradient, damping))
    on_a, on_g = damping_lib.factored_tikhonov(
        damping_lib.mean_eigenvalue(a, is_diagonal),
        damping_lib.mean_eigenvalue(g),
        damping,
    )
    if is_diagonal:
        inverse_a = 1.0 / (a + on_a)
    else:
        inverse_a = inverse(damping_lib.add_to_diagonal(a, on_a))
    inverse_g = inverse(damping_lib.add_to_diagonal(g, on_g))
    return numpy(
        damping_lib.precondition(gradient, inverse_a, inverse_g, is_diagonal)
    )


def library_eigen(a, g, gradient, damping=DAMPING, is_diagonal=False):
    def decomposed(factor):
        return backend.current.eigenvalues_and_vectors(tensor(factor))

    return numpy(
        damping_lib.precondition_eigen(
            tensor(gradient),
            (tensor(a), None) if is_diagonal else decomposed(a),
            None if g is None else decomposed(g),
            tensor(damping),
        )
    )


def numpy(result):
    result = ops.convert_to_numpy(result)
    assert result.dtype == "float64"
    return result


def assert_equal(actual, expected):
    error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
    assert actual.shape == expected.shape
    assert error < TOLERANCE


@pytest.fixture(autouse=True)
def float64():
    with harness.float64():
        yield


@pytest.mark.parametrize("damping", [1e-3, 0.03, 10.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_factored_damping_equals_the_inverse_of_the_product(damping, scale):
    a, g = random_factor(N, scale=scale), random_factor(M, seed=1)
    gradient = random_gradient(N, M)
    assert_equal(
        library_factored(a, g, gradient, damping),
        applied(factored(a, g, damping), gradient),
    )


@pytest.mark.parametrize("damping", [1e-3, 0.03, 10.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_eigen_damping_equals_the_inverse_of_the_damped_product(damping, scale):
    a, g = random_factor(N, scale=scale), random_factor(M, seed=1)
    gradient = random_gradient(N, M)
    assert_equal(
        library_eigen(a, g, gradient, damping),
        applied(materialised(a, g, damping), gradient),
    )


@pytest.mark.parametrize(
    ("library", "truth"),
    [(library_factored, factored), (library_eigen, materialised)],
)
def test_each_group_is_preconditioned_by_its_own_factors(library, truth):
    groups = 3
    sizes = np.array([1.0, 100.0, 0.01])[:, None, None]
    a = random_factor(N, (groups,)) * sizes
    g = random_factor(M, (groups,), seed=1)
    gradient = random_gradient(groups, N, M)
    expected = [
        applied(truth(a[i], g[i], DAMPING), gradient[i]) for i in range(groups)
    ]
    assert_equal(library(a, g, gradient), np.stack(expected))


@pytest.mark.parametrize(
    ("library", "truth"),
    [(library_factored, factored), (library_eigen, materialised)],
)
def test_a_diagonal_factor_is_the_dense_one_with_zeros_beside_it(
    library, truth
):
    # Frequencies of an embedding's ids; one never occurred.
    frequencies = np.array([0.5, 0.3, 0.0, 0.15, 0.05])
    g = random_factor(M)
    gradient = random_gradient(5, M)
    assert_equal(
        library(frequencies, g, gradient, is_diagonal=True),
        applied(truth(np.diag(frequencies), g, DAMPING), gradient),
    )


def test_a_single_factor_gets_the_whole_damping():
    """A normalization: [channels, 2, 2] for scale and shift, V [c, 2, 1]."""
    f = random_factor(2, (N,))
    gradient = random_gradient(N, 2, 1)
    expected = np.linalg.solve(f + DAMPING * np.eye(2), gradient)
    damped = damping_lib.add_to_diagonal(tensor(f), tensor(DAMPING))
    inverse = backend.current.cholesky_inverse(damped)
    actual = damping_lib.precondition(tensor(gradient), inverse)
    assert_equal(numpy(actual), expected)
    assert_equal(library_eigen(f, None, gradient), expected)


@pytest.mark.parametrize("damping", [1e-3, 1.0])
def test_summed_over_positions_g_needs_no_spatial_factor_of_its_own(damping):
    positions = 9
    a, s = random_factor(N), random_factor(M, seed=1)
    gradient = random_gradient(N, M)
    assert_equal(
        library_factored(a, positions * s, gradient, damping),
        spatial(a, s, positions, gradient, damping),
    )


@pytest.mark.parametrize("library", [library_factored, library_eigen])
def test_both_paths_share_the_curvature_where_damping_is_nothing(library):
    """λ of 1e-14 against eigenvalues above 1e-3 or so: 1e-5 and 1e-10 off."""
    a, g = random_factor(N), random_factor(M, seed=1)
    gradient = random_gradient(N, M)
    expected = np.linalg.inv(a) @ gradient @ np.linalg.inv(g)
    actual = library(a, g, gradient, 1e-14)
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )


@pytest.mark.parametrize("library", [library_factored, library_eigen])
def test_a_layer_without_curvature_takes_the_gradient_over_the_damping(library):
    zeros = np.zeros((N, N)), np.zeros((M, M))
    gradient = random_gradient(N, M)
    assert_equal(library(*zeros, gradient), gradient / DAMPING)


def test_a_dead_layer_is_damped_by_the_smallest_trace():
    """G = 0 and A not: π² = tr(A)/n / 1e-12, and nothing is infinite."""
    a, gradient = random_factor(N), random_gradient(N, M)
    pi = np.sqrt(np.trace(a) / N / 1e-12)
    left = np.linalg.inv(a + pi * np.sqrt(DAMPING) * np.eye(N))
    expected = left @ gradient * pi / np.sqrt(DAMPING)
    assert_equal(library_factored(a, np.zeros((M, M)), gradient), expected)
    # A is nothing beside its damping, so that this is about V/λ.
    np.testing.assert_allclose(
        expected, gradient / DAMPING, rtol=0, atol=1e-3 / DAMPING
    )


@pytest.mark.parametrize("shape", [(1, M), (N, 1), (1, 1)])
@pytest.mark.parametrize(
    ("library", "truth"),
    [(library_factored, factored), (library_eigen, materialised)],
)
def test_a_factor_of_one_number_is_a_factor(library, truth, shape):
    n, m = shape
    a, g = random_factor(n), random_factor(m, scale=100.0, seed=1)
    gradient = random_gradient(n, m)
    assert_equal(
        library(a, g, gradient), applied(truth(a, g, DAMPING), gradient)
    )


def test_scalar_factors_have_both_kinds_of_damping_in_closed_form():
    a, g = np.array([[3.0]]), np.array([[0.2]])
    gradient = np.array([[1.0]])
    # π√λ·√λ/π + π√λ g + a√λ/π + ag, of which πg = a/π = √(ag).
    product = (np.sqrt(3.0 * 0.2) + np.sqrt(DAMPING)) ** 2
    assert_equal(library_factored(a, g, gradient), gradient / product)
    assert_equal(library_eigen(a, g, gradient), gradient / (0.6 + DAMPING))


def test_the_two_dampings_multiply_to_lambda_and_match_the_factors():
    a, g = random_factor(N, scale=50.0), random_factor(M, seed=1)
    means = [damping_lib.mean_eigenvalue(tensor(x)) for x in (a, g)]
    on_a, on_g = map(
        float, damping_lib.factored_tikhonov(*means, tensor(DAMPING))
    )
    assert on_a * on_g == pytest.approx(DAMPING, rel=1e-14)
    mean_a, mean_g = np.linalg.eigvalsh(a).mean(), np.linalg.eigvalsh(g).mean()
    assert on_a / mean_a == pytest.approx(on_g / mean_g, rel=1e-13)


def test_the_mean_eigenvalue_is_one_per_group_and_never_zero():
    a = random_factor(N, (3,)) * np.array([1.0, 0.0, 10.0])[:, None, None]
    actual = numpy(damping_lib.mean_eigenvalue(tensor(a)))
    expected = np.linalg.eigvalsh(a).mean(axis=-1)
    np.testing.assert_allclose(actual[[0, 2]], expected[[0, 2]], rtol=1e-13)
    # The floor need not be exact: on TensorFlow it is a float32.
    assert actual[1] == pytest.approx(1e-12, rel=1e-7)
    diagonal = np.array([1.0, 2.0, 6.0])
    mean = damping_lib.mean_eigenvalue(tensor(diagonal), is_diagonal=True)
    assert float(mean) == 3.0


@pytest.mark.parametrize("way", compiling.WAYS)
def test_the_damping_may_be_a_tensor_of_a_compiled_program(way):
    a, g = random_factor(N), random_factor(M, seed=1)
    gradient = random_gradient(N, M)

    def step(a, g, gradient, damping):
        means = map(damping_lib.mean_eigenvalue, (a, g))
        inverses = [
            backend.current.cholesky_inverse(
                damping_lib.add_to_diagonal(factor, added)
            )
            for factor, added in zip(
                (a, g),
                damping_lib.factored_tikhonov(*means, damping),
                strict=True,
            )
        ]
        return damping_lib.precondition(gradient, *inverses)

    arguments = map(tensor, (a, g, gradient, DAMPING))
    assert_equal(
        numpy(compiling.run(way, step, *arguments)),
        applied(factored(a, g, DAMPING), gradient),
    )
