"""The numpy K-FAC: exact where the theory says so, and true to its formulas."""

import keras
import numpy as np
import pytest

from tfwd_tests.kfac import dense_curvature
from tfwd_tests.kfac import reference

SIZES = (4, 5, 3)
KERAS_LOSSES = {
    "softmax": keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, dtype="float64"
    ),
    "gaussian": keras.losses.MeanSquaredError(dtype="float64"),
    "sigmoid": keras.losses.BinaryCrossentropy(
        from_logits=True, dtype="float64"
    ),
}


def make_theta(seed=0):
    generator = np.random.default_rng(seed)
    return [
        generator.normal(size=shape) / 2
        for n, m in zip(SIZES, SIZES[1:], strict=False)
        for shape in ((n, m), (m,))
    ]


def make_batch(loss, examples, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(examples, SIZES[0]))
    y = {
        "softmax": generator.integers(SIZES[-1], size=examples),
        "gaussian": generator.normal(size=(examples, SIZES[-1])),
        "sigmoid": 1.0 * generator.integers(2, size=(examples, SIZES[-1])),
    }
    return x, y[loss]


def make_model(theta, activations):
    model = keras.Sequential(
        [
            keras.layers.Dense(m, activation=name)
            for m, name in zip(SIZES[1:], activations, strict=True)
        ]
    )
    model.build((None, SIZES[0]))
    model.set_weights(theta)
    return model


def dense_blocks(theta, activations, loss, curvature, x, y):
    with dense_curvature.float64():
        model = make_model(theta, activations)
        return [
            dense_curvature.matrix(
                model, layer, x, curvature, KERAS_LOSSES[loss], y
            )
            for layer in model.layers
        ]


def factors(theta, activations, loss, curvature, x, y, sample=None):
    return reference.new_factors(
        reference.layers(theta), activations, loss, curvature, 1.0, x, y, sample
    )


def train(batches, loss="softmax", activations=("tanh", "linear"), **arguments):
    return reference.train(
        make_theta(),
        batches,
        activations=activations,
        loss=loss,
        **{"learning_rates": [0.1] * len(batches), **arguments},
    )


def relative_error(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("curvature", ("fisher", "gauss_newton"))
def test_exact_factors_of_deep_linear_network_are_the_dense_blocks(curvature):
    case = ("linear", "linear"), "gaussian", curvature
    x, y = make_batch("gaussian", 7)
    dense = dense_blocks(make_theta(), *case, x, y)
    for (a, g), block in zip(
        factors(make_theta(), *case, x, y), dense, strict=True
    ):
        assert relative_error(np.kron(a, g), block) < 1e-10


@pytest.mark.parametrize("activation", ("linear", "tanh", "relu"))
@pytest.mark.parametrize("curvature", ("fisher", "gauss_newton", "empirical"))
@pytest.mark.parametrize("loss", tuple(KERAS_LOSSES))
def test_factors_of_one_datum_are_the_dense_blocks(loss, curvature, activation):
    case = (activation, "linear"), loss, curvature
    x, y = make_batch(loss, 1)
    dense = dense_blocks(make_theta(), *case, x, y)
    for (a, g), block in zip(
        factors(make_theta(), *case, x, y), dense, strict=True
    ):
        assert relative_error(np.kron(a, g), block) < 1e-10


def test_factors_of_several_data_in_a_tanh_network_are_not_the_dense_blocks():
    # The contrast: the two tests above would not pass by accident.
    case = ("tanh", "linear"), "softmax", "fisher"
    x, y = make_batch("softmax", 7)
    dense = dense_blocks(make_theta(), *case, x, y)
    a, g = factors(make_theta(), *case, x, y)[0]
    assert relative_error(np.kron(a, g), dense[0]) > 1e-2


@pytest.mark.parametrize("loss", tuple(KERAS_LOSSES))
def test_gradient_is_that_of_the_keras_loss(loss):
    theta, activations = make_theta(), ("tanh", "linear")
    x, y = make_batch(loss, 7)
    direction = make_theta(seed=1)
    with dense_curvature.float64():
        model = make_model(theta, activations)

        def value(size):
            model.set_weights(
                [t + size * d for t, d in zip(theta, direction, strict=True)]
            )
            return float(KERAS_LOSSES[loss](y, model(x)))

        # Fourth order: the error is near 1e-4**4, and rounding near 1e-12.
        h = 1e-3
        slope = 8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))
        slope /= 12 * h
    gradients = reference.gradients(
        reference.layers(theta), activations, loss, x, y
    )
    product = sum(
        np.sum(g * d)
        for g, d in zip(gradients, reference.layers(direction), strict=True)
    )
    assert abs(product - slope) < 1e-9 * abs(slope)


@pytest.mark.parametrize("loss", tuple(KERAS_LOSSES))
def test_mean_over_samples_is_the_exact_output_hessian(loss):
    generator = np.random.default_rng(0)
    z = generator.normal(size=(1, 3))
    many = np.repeat(z, 200_000, axis=0)
    sample = {
        "softmax": lambda: generator.choice(
            3, size=len(many), p=reference.softmax(z)[0]
        ),
        "gaussian": lambda: generator.normal(size=many.shape),
        "sigmoid": lambda: (
            generator.random(many.shape) < reference.sigmoid(many)
        ),
    }[loss]()
    vectors = reference.sampled_vectors(loss, "fisher", many, sample)
    exact = reference.output_hessian(loss, "fisher", z)[0]
    # Ten times the Monte Carlo error, which is near 1/√200 000.
    assert relative_error(vectors.T @ vectors / len(many), exact) < 0.02


def random_factors(seed=0):
    generator = np.random.default_rng(seed)
    rows = [generator.normal(size=(2 * n, n)) for n in (5, 3)]
    a, g = (x.T @ x / len(x) for x in rows)
    return a, 1e-2 * g, generator.normal(size=(5, 3))


def test_eigen_damping_solves_the_damped_kronecker_product():
    a, g, v = random_factors()
    inverse = reference.eigen_inverse(a, g, 1e-3)
    actual = reference.eigen_product(inverse, v, 1e-3)
    dense = np.kron(a, g) + 1e-3 * np.eye(15)
    expected = np.linalg.solve(dense, v.ravel())
    assert relative_error(actual.ravel(), expected) < 1e-12


def test_factored_damping_solves_the_product_of_damped_factors():
    a, g, v = random_factors()
    inverse = reference.factored_inverse(a, g, 1e-3)
    actual = reference.factored_product(inverse, v, 1e-3)
    pi = np.sqrt(np.trace(a) / 5 / (np.trace(g) / 3))
    on_a, on_g = pi * np.sqrt(1e-3), np.sqrt(1e-3) / pi
    dense = np.kron(a + on_a * np.eye(5), g + on_g * np.eye(3))
    # What is added to A ⊗ G holds λI, whatever π is.
    added = dense - np.kron(a, g) - np.kron(on_a * np.eye(5), g)
    added -= np.kron(a, on_g * np.eye(3))
    np.testing.assert_allclose(added, 1e-3 * np.eye(15), atol=1e-15)
    expected = np.linalg.solve(dense, v.ravel())
    assert relative_error(actual.ravel(), expected) < 1e-12


@pytest.mark.parametrize("order", ("algorithm", "authors"))
def test_factors_are_debiased_averages_in_the_order_that_is_asked(order):
    batches = [make_batch("softmax", 6, seed) for seed in range(4)]
    options = {"factor_every": 2, "inverse_every": 2, "factor_decay": 0.9}
    parameters, averages = train(batches, update_order=order, **options)
    before = [make_theta(), *parameters[:-1]]
    case = ("tanh", "linear"), "softmax", "fisher"
    seen = [
        factors(theta, *case, *batch)
        for theta, batch in (
            [(before[0], batches[0]), (before[2], batches[2])]
            if order == "algorithm"
            else [
                (before[0], batches[0]),
                (parameters[1], batches[1]),
                (parameters[3], batches[3]),
            ]
        )
    ]
    weights = np.array([0.9**age for age in range(len(seen))][::-1])
    for layer, average in enumerate(averages[-1]):
        for kind in range(2):
            expected = sum(
                weight * new[layer][kind]
                for weight, new in zip(weights, seen, strict=True)
            )
            expected = expected / weights.sum()
            assert relative_error(average[kind], expected) < 1e-13


def test_cold_start_gives_the_plain_average():
    batches = [make_batch("softmax", 6, seed) for seed in range(3)]
    _, averages = train(batches[:1], update_order="authors", cold_start=batches)
    case = ("tanh", "linear"), "softmax", "fisher"
    several = [factors(make_theta(), *case, *batch) for batch in batches]
    for layer, average in enumerate(averages[-1]):
        for kind in range(2):
            expected = np.mean([new[layer][kind] for new in several], axis=0)
            assert relative_error(average[kind], expected) < 1e-13


def test_clipped_step_has_the_length_that_is_asked():
    a, g, v = random_factors()
    inverse = reference.factored_inverse(a, g, 1e-3)
    u = reference.factored_product(inverse, v, 1e-3)
    nu = reference.kl_coefficient(1e-4, 0.1, [v, v], [u, u])
    assert nu < 1
    np.testing.assert_allclose(0.1**2 * nu**2 * 2 * np.sum(v * u), 1e-4)
    assert reference.kl_coefficient(1e4, 0.1, [v], [u]) == 1
    assert reference.kl_coefficient(1e-4, 0.1, [v], [-u]) == 1


@pytest.mark.parametrize(
    ("mode", "rates"),
    (
        ("none", (0, 0, 0)),
        ("decoupled", (0.1 * 0.2, 0.01 * 0.2, 0.1 * 0.4)),
        ("stable", (0.1 * 0.2 / 0.25, 0.01 * 0.2 / 0.25, 0.1 * 0.4 / 0.25)),
        ("independent", (0.2, 0.2, 0.4)),
    ),
)
def test_without_gradient_the_parameters_only_decay(mode, rates):
    theta = make_theta()
    theta[1], theta[3] = 0 * theta[1], 0 * theta[3]
    batch = np.zeros((2, SIZES[0])), np.zeros((2, SIZES[-1]))
    parameters, _ = reference.train(
        theta,
        [batch] * 3,
        activations=("tanh", "linear"),
        loss="gaussian",
        learning_rates=[0.1, 0.01, 0.1],
        weight_decays=[0.2, 0.2, 0.4],
        mode=mode,
        momentum=0.75,
        decay_factors=[1.0, 1.0, 0.5, 1.0],
    )
    rates = np.array(rates)
    np.testing.assert_allclose(parameters[-1][0], np.prod(1 - rates) * theta[0])
    np.testing.assert_allclose(
        parameters[-1][2], np.prod(1 - rates / 2) * theta[2]
    )


def test_l2_preconditions_the_penalized_gradient():
    theta, batch = make_theta(), make_batch("softmax", 6)
    parameters, averages = train(
        [batch], mode="l2", weight_decays=[0.3], damping=1e-2
    )
    w = reference.layers(theta)
    v = reference.gradients(w, ("tanh", "linear"), "softmax", *batch)
    moved = reference.layers(parameters[0])
    for layer, (a, g) in enumerate(averages[0]):
        a_inverse, g_inverse = reference.factored_inverse(a, g, 1e-2)
        u = a_inverse @ (v[layer] + 0.3 * w[layer]) @ g_inverse
        assert relative_error(moved[layer], w[layer] - 0.1 * u) < 1e-14


def test_one_gauss_newton_step_without_damping_solves_linear_regression():
    # The curvature that stands for mean squared error is (2/K)·I at the
    # outputs: the Fisher's, so one step of size 1 is Newton's.
    x, _ = make_batch("gaussian", 20)
    y = np.random.default_rng(1).normal(size=(20, 5))
    parameters, _ = reference.train(
        make_theta()[:2],
        [(x, y)],
        activations=("linear",),
        loss="gaussian",
        learning_rates=[1.0],
        damping=0.0,
        damping_mode="eigen",
    )
    design = np.hstack([x, np.ones((20, 1))])
    expected = np.linalg.lstsq(design, y, rcond=None)[0]
    assert relative_error(np.vstack(parameters[0]), expected) < 1e-12
