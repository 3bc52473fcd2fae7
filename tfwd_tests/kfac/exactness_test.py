"""Where Kronecker factors are exact: their product is the dense matrix."""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd_tests import marks
from tfwd_tests.kfac import hessian
from tfwd_tests.kfac import models
from tfwd_tests.kfac import reference

# Sums of about a hundred float64 products; nothing is approximate.
TOLERANCE = 1e-10
LIKELIHOODS = ("softmax", "sigmoid", "gaussian")
ACTIVATIONS = {"softmax": "softmax", "sigmoid": "sigmoid", "gaussian": None}


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def assert_exact(model, likelihood, curvature, x, y=None, positions=None):
    """Checks T·kron(A, G) of every layer against the dense block."""
    optimizer = models.attached(model, likelihood, curvature=curvature)
    optimizer.update_factors(x, y)
    found = optimizer.factors()
    truth = models.all_dense_blocks(optimizer, likelihood, x, y)
    assert set(found) == set(truth)
    for name, pair in found.items():
        actual = models.kronecker(pair, (positions or {}).get(name, 1))
        assert models.error(actual, truth[name]) < TOLERANCE, name


def deep_linear(*likelihood):
    return [layers.Dense(5), layers.Dense(4, use_bias=False), *likelihood]


@pytest.mark.parametrize("curvature", ("fisher", "gauss_newton"))
def test_deep_linear_network_with_squared_loss(curvature):
    model = models.built(deep_linear(layers.Dense(3)), (4,))
    assert_exact(model, "gaussian", curvature, models.normal(7, 4))


def tanh_network(activation=None):
    return models.built(
        [
            layers.Dense(5, activation="tanh"),
            layers.Dense(4, activation="tanh", use_bias=False),
            layers.Dense(3, activation=activation),
        ],
        (4,),
    )


@pytest.mark.parametrize("curvature", ("fisher", "gauss_newton", "empirical"))
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_one_datum_and_any_loss(likelihood, curvature):
    x, y = models.normal(1, 4), models.targets_of(likelihood, (1, 3))
    assert_exact(tanh_network(), likelihood, curvature, x, y)


@pytest.mark.parametrize("curvature", ("fisher", "gauss_newton", "empirical"))
@pytest.mark.parametrize("likelihood", ("softmax", "sigmoid"))
def test_probabilities_give_the_matrix_of_their_logits(likelihood, curvature):
    x, y = models.normal(1, 4), models.targets_of(likelihood, (1, 3))
    with_logits = models.attached(
        tanh_network(), likelihood, curvature=curvature
    )
    truth = models.all_dense_blocks(with_logits, likelihood, x, y)
    found = models.factors(
        tanh_network(ACTIVATIONS[likelihood]),
        likelihood,
        x,
        y,
        curvature=curvature,
        from_logits=False,
    )
    for pair, block in zip(found.values(), truth.values(), strict=True):
        assert models.error(models.kronecker(pair), block) < TOLERANCE


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_block_of_relu_network_on_one_datum_is_the_hessian_of_its_loss(
    likelihood,
):
    # Between its kinks the network is linear in each layer's variables, so
    # nothing of the Hessian's block is left but JᵀHJ.
    model = models.built(
        [layers.Dense(6, activation="relu"), layers.Dense(3)], (4,)
    )
    x, y = models.normal(1, 4), models.targets_of(likelihood, (1, 3))
    found = models.factors(model, likelihood, x)
    for layer in model.layers:
        truth = hessian.of_loss(model, layer, models.loss_of(likelihood), x, y)
        actual = models.kronecker(found[layer.name])
        assert models.error(actual, [truth]) < TOLERANCE


def test_block_of_deep_linear_network_is_the_hessian_of_its_squared_loss():
    model = models.built(deep_linear(layers.Dense(3)), (4,))
    x, y = models.normal(7, 4), models.normal(7, 3, seed=1)
    found = models.factors(model, "gaussian", x)
    for layer in model.layers:
        truth = hessian.of_loss(model, layer, models.loss_of("gaussian"), x, y)
        actual = models.kronecker(found[layer.name])
        assert models.error(actual, [truth]) < TOLERANCE


# Networks that are linear, whose loss is one of every position: each row of a
# layer's input meets gradients of the same second moment.
def shared(name):
    """Returns layers, the shape of an example, and positions of a layer."""
    if name == "conv1d":
        one = layers.Conv1D(4, 3, strides=2, padding="same")
        return [one, layers.Conv1D(3, 1)], (7, 2), 4
    if name == "conv2d":
        one = layers.Conv2D(4, (2, 3), padding="same")
        return [one, layers.Dense(3)], (3, 4, 2), 12
    shape = {"sequence": (6, 4), "grid": (2, 3, 4)}[name]
    return [layers.Dense(5), layers.Dense(3)], shape, 6


@pytest.mark.parametrize("curvature", ("fisher", "gauss_newton"))
@pytest.mark.parametrize("name", ("sequence", "grid", "conv1d", "conv2d"))
def test_weight_sharing_in_linear_networks_with_a_loss_of_every_position(
    name, curvature
):
    stack, shape, positions = shared(name)
    model = models.built(stack, shape)
    x = models.normal(2, *shape)
    every = {layer.name: positions for layer in model.layers}
    assert_exact(model, "gaussian", curvature, x, positions=every)


def pooled():
    return models.built(
        [
            layers.Conv2D(3, 1, use_bias=False, name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, name="dense"),
        ],
        (2, 2, 2),
    )


def test_convolution_under_mean_pooling_is_exact_for_unrelated_positions():
    # Factors take positions for independent: exact where their inputs have no
    # second moments in common. The signs of a Hadamard matrix see to that.
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1]])
    signs = np.vstack([signs, [1, -1, -1, 1]]).reshape((4, 2, 2, 1))
    x = np.concatenate([signs * one for one in models.normal(3, 2, 2, 2)])
    assert_exact(pooled(), "gaussian", "fisher", x, positions={"conv": 4})


def test_convolution_under_mean_pooling_is_one_tth_for_equal_positions():
    # The other extreme, where the approximation is off by T.
    x = np.broadcast_to(models.normal(3, 1, 1, 2), (3, 2, 2, 2))
    optimizer = models.attached(pooled(), "gaussian")
    optimizer.update_factors(x)
    truth = models.all_dense_blocks(optimizer, "gaussian", x)["conv"]
    found = models.kronecker(optimizer.factors()["conv"], 4)
    assert models.error(4 * found[0], truth[0]) < TOLERANCE


def test_factors_of_several_data_in_a_tanh_network_are_not_exact():
    # The contrast: none of the above passes by accident.
    model = tanh_network()
    optimizer = models.attached(model, "softmax")
    x = models.normal(7, 4)
    optimizer.update_factors(x)
    truth = models.all_dense_blocks(optimizer, "softmax", x)
    name = model.layers[0].name
    found = models.kronecker(optimizer.factors()[name])
    assert models.error(found, truth[name]) > 1e-2


def convolutional():
    return models.built(
        [
            layers.Conv2D(4, 2, activation="tanh", name="conv"),
            layers.DepthwiseConv2D(2, depth_multiplier=2, name="depthwise"),
            layers.Flatten(),
            layers.Dense(3, name="dense"),
        ],
        (3, 3, 2),
    )


def explicit_update(block, pair, positions, damping, damping_mode, gradients):
    """Returns U of every group by solving the dense damped system."""
    v = np.asarray(keras.ops.convert_to_numpy(block.to_matrix(gradients)))
    v = v[None] if v.ndim == 2 else v
    factors = [f[None] if f.ndim == 2 else f for f in pair]
    found = []
    for one, a, g in zip(v, *factors, strict=True):
        if damping_mode == "eigen":
            c = positions * np.kron(a, g) + damping * np.eye(one.size)
        else:
            # papers.md §2.4: S per position, r = √(λ/T).
            pi = np.sqrt(np.trace(a) / len(a) / (np.trace(g) / len(g)))
            r = np.sqrt(damping / positions)
            c = positions * np.kron(
                a + pi * r * np.eye(len(a)), g + r / pi * np.eye(len(g))
            )
        found.append(np.linalg.solve(c, one.ravel()).reshape(one.shape))
    return found


@pytest.mark.parametrize("damping_mode", ("factored", "eigen"))
def test_a_step_is_the_solution_of_the_damped_kronecker_system(damping_mode):
    model = convolutional()
    optimizer = models.attached(
        model,
        "softmax",
        learning_rate=1.0,
        momentum=0.0,
        damping=2.0**-5,
        damping_mode=damping_mode,
    )
    optimizer.update_factors(models.normal(5, 3, 3, 2))
    optimizer.update_inverses()
    found = optimizer.factors()
    variables = model.trainable_variables
    before = [keras.ops.convert_to_numpy(v) for v in variables]
    gradients = [
        models.normal(*v.shape, seed=i) for i, v in enumerate(variables)
    ]
    optimizer.apply(
        [keras.ops.convert_to_tensor(g, "float64") for g in gradients],
        variables,
    )
    moved = {
        id(v): old - keras.ops.convert_to_numpy(v)
        for v, old in zip(variables, before, strict=True)
    }
    by_id = {id(v): g for v, g in zip(variables, gradients, strict=True)}
    positions = {"conv": 4, "depthwise": 1, "dense": 1}
    for block in optimizer.attachment.blocks:
        truth = explicit_update(
            block,
            found[block.layer.name],
            positions[block.layer.name],
            2.0**-5,
            damping_mode,
            [by_id[id(v)] for v in block.variables],
        )
        u = block.to_matrix([moved[id(v)] for v in block.variables])
        u = np.asarray(keras.ops.convert_to_numpy(u))
        u = u[None] if u.ndim == 2 else u
        assert models.error(u, truth) < TOLERANCE, block.layer.name


def fourth_moment(likelihood, curvature, z, back):
    """Returns E‖g‖⁴ for g = v @ back, over the law of v at one prediction."""
    size = len(z)
    bits = np.array(list(np.ndindex(*(2,) * size)))
    if curvature == "gauss_newton":
        vectors, law = 2.0 * bits - 1, np.full(len(bits), 1 / len(bits))
    elif likelihood == "softmax":
        law = reference.softmax(z[None])[0]
        vectors = law - np.eye(size)
    elif likelihood == "sigmoid":
        p = reference.sigmoid(z)
        law = np.prod(np.where(bits, p, 1 - p), axis=1)
        vectors = (p - bits) / np.sqrt(size)
    else:
        s = 2 / size * back.T @ back
        return np.trace(s) ** 2 + 2 * np.sum(s**2)
    return law @ np.sum((vectors @ back) ** 2, axis=1) ** 2


@pytest.mark.parametrize(
    ("likelihood", "curvature"),
    (
        ("softmax", "fisher"),
        *marks.many(
            ("sigmoid", "fisher"),
            ("gaussian", "fisher"),
            ("softmax", "gauss_newton"),
        ),
    ),
)
def test_sampled_factors_tend_to_the_exact_ones(likelihood, curvature):
    model = models.built([layers.Dense(4), layers.Dense(3)], (4,))
    distinct, copies, passes = 4, 64, 30
    x = np.repeat(models.normal(distinct, 4), copies, axis=0)
    sampled = models.attached(
        model, likelihood, curvature=curvature, estimation="sampled"
    )
    sampled.cold_start([x] * passes)
    found = sampled.factors()
    sampled.detach()
    exact = models.factors(model, likelihood, x, curvature=curvature)
    z = keras.ops.convert_to_numpy(model(x[::copies]))
    top = keras.ops.convert_to_numpy(model.layers[1].kernel).T
    for layer, back in zip(model.layers, (top, np.eye(3)), strict=True):
        a, g = found[layer.name]
        exact_a, exact_g = exact[layer.name]
        assert models.error([a], [exact_a]) < TOLERANCE
        # E‖mean of n matrices ggᵀ − their mean‖² = (E‖g‖⁴ − ‖E ggᵀ‖²)/n.
        h = reference.output_hessian(likelihood, curvature, z)
        spread = np.mean(
            [
                fourth_moment(likelihood, curvature, one, back)
                - np.sum((back.T @ second @ back) ** 2)
                for one, second in zip(z, h, strict=True)
            ]
        )
        expected = np.sqrt(spread / (distinct * copies * passes))
        # Three standard errors; and not as if nothing had been sampled.
        assert 0.1 * expected < np.linalg.norm(g - exact_g) < 3 * expected
