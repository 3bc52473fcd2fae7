"""Identities of Zhang et al. 2019, and the invariance that K-FAC is for."""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd_tests import marks
from tfwd_tests.kfac import models

# Sums of float64 products on both sides.
TOLERANCE = 1e-10


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def normalized(convolutional=False):
    """Returns a network whose first layer stands before a BatchNormalization.

    ε is far below any variance, so that it breaks no invariance.
    """
    if convolutional:
        first = layers.Conv2D(4, 2, use_bias=False, name="first")
        rest, shape = [layers.Flatten()], (3, 3, 2)
    else:
        first = layers.Dense(4, use_bias=False, name="first")
        rest, shape = [], (5,)
    return models.built(
        [
            first,
            layers.BatchNormalization(
                epsilon=1e-15, center=False, scale=False, name="norm"
            ),
            layers.Activation("tanh"),
            *rest,
            layers.Dense(3, name="last"),
        ],
        shape,
    )


@pytest.mark.parametrize("curvature", ("fisher", "gauss_newton"))
@pytest.mark.parametrize("convolutional", (False, True))
def test_curvature_of_a_scaled_layer_before_a_norm_is_one_over_the_square(
    convolutional, curvature
):
    # Their Equation 13, C(cθ) = C(θ)/c²: all of it is in G.
    model = normalized(convolutional)
    kernel = model.get_layer("first").kernel
    x = models.normal(7, *model.input_shape[1:])
    optimizer = models.attached(
        model, "softmax", curvature=curvature, factor_decay=0.0
    )
    optimizer.update_factors(x)
    before = optimizer.factors()
    kernel.assign(3.0 * keras.ops.convert_to_tensor(kernel))
    optimizer.update_factors(x)
    after = optimizer.factors()
    (a, g), (scaled_a, scaled_g) = before["first"], after["first"]
    np.testing.assert_array_equal(scaled_a, a)
    assert models.error([9 * scaled_g], [g]) < TOLERANCE
    assert models.error(after["last"], before["last"]) < TOLERANCE


def direction_error(learning_rate, scale=3.0, damping=0.2):
    """Returns ‖Δ‖ of the first layer's direction after a step, from Eq. 14.

    θ̂ ← θ̂ − η (I − θ̂θ̂ᵀ)(C(θ̂) + ‖θ‖²λ)⁻¹ ∇L(θ̂) + O(η²), weight decay or not.
    """
    x, y = models.normal(7, 5), models.targets_of("softmax", (7, 3))
    options = {"momentum": 0.0, "damping_mode": "eigen"}

    def kernel_before_and_after(norm, damping, rate, decay):
        model = normalized()
        kernel = model.get_layer("first").kernel
        start = keras.ops.convert_to_numpy(kernel)
        start = norm * start / np.linalg.norm(start)
        kernel.assign(start)
        optimizer = models.attached(
            model,
            "softmax",
            learning_rate=rate,
            weight_decay=decay,
            damping=damping,
            **options,
        )
        models.step(model, optimizer, "softmax", x, y)
        return start, keras.ops.convert_to_numpy(kernel)

    _, moved = kernel_before_and_after(scale, damping, learning_rate, 0.3)
    unit, other = kernel_before_and_after(1.0, scale**2 * damping, 1.0, 0.0)
    u = unit - other
    tangent = u - np.sum(unit * u) * unit
    actual = moved / np.linalg.norm(moved)
    return np.linalg.norm(actual - (unit - learning_rate * tangent))


@pytest.mark.many
def test_a_scaled_layer_turns_as_its_direction_under_more_damping():
    large, small = direction_error(2e-2), direction_error(1e-2)
    # The error is of second order, with a third-order share of 1e-2.
    assert 3.8 < large / small < 4.2


def reparameterized(transforms):
    """Returns a network, or the same function in other coordinates.

    With transforms (P, c), (Q, q), (R, r), (S, s) the inputs are xP + c, and
    frozen affine layers undo what is done to the coordinates between.
    """

    def frozen(matrix, shift, name):
        layer = layers.Dense(len(matrix), trainable=False, name=name)
        layer.build((None, len(matrix)))
        layer.set_weights([matrix, shift])
        return layer

    first, second = layers.Dense(4, name="one"), layers.Dense(3, name="two")
    plain = [first, layers.Activation("tanh"), second]
    if transforms is None:
        return models.built(plain, (5,))
    _, (q, q_shift), (r, r_shift), (s, s_shift) = transforms
    stack = [
        first,
        frozen(q, q_shift, "q"),
        layers.Activation("tanh"),
        frozen(r, r_shift, "r"),
        second,
        frozen(s, s_shift, "s"),
    ]
    return keras.Sequential([keras.Input((5,)), *stack])


def transformed(kernel, bias, before, after):
    """Returns W′, b′ with (xP + c)W′ + b′ = y′ where y′Q + q = xW + b."""
    (p, c), (q, shift) = before, after
    kernel_after = np.linalg.solve(p, kernel) @ np.linalg.inv(q)
    bias_after = (bias - shift) @ np.linalg.inv(q) - c @ kernel_after
    return kernel_after, bias_after


def disagreement(damping, damping_mode):
    """Returns how far apart the functions are after one step, relatively."""
    transforms = [
        (np.eye(n) + 0.3 * models.normal(n, n, seed=n), models.normal(n))
        for n in (5, 4, 4, 3)
    ]
    # The second layer's input has as many coordinates as the first's output.
    transforms[2] = (transforms[2][0].T, transforms[2][1][::-1].copy())
    p, q, r, s = transforms
    x = models.normal(30, 5)
    y = models.normal(30, 3, seed=1)
    changes = []
    start = reparameterized(None).get_weights()
    for chosen in (None, transforms):
        model = reparameterized(chosen)
        inputs = x
        if chosen is not None:
            inputs = x @ p[0] + p[1]
            one, two = model.get_layer("one"), model.get_layer("two")
            one.set_weights(transformed(*start[:2], p, q))
            two.set_weights(transformed(*start[2:], r, s))
        before = keras.ops.convert_to_numpy(model(inputs))
        optimizer = models.attached(
            model,
            "gaussian",
            learning_rate=0.1,
            momentum=0.0,
            damping=damping,
            damping_mode=damping_mode,
        )
        models.step(model, optimizer, "gaussian", inputs, y)
        after = keras.ops.convert_to_numpy(model(inputs))
        changes.append((before, after))
    (before, after), (same, other) = changes
    assert models.error([same], [before]) < TOLERANCE
    return np.linalg.norm(other - after) / np.linalg.norm(after - before)


@pytest.mark.parametrize(
    ("damping_mode", "fall"),
    (("eigen", 10), *marks.many(("factored", 10**0.5))),
)
def test_without_damping_a_step_does_not_depend_on_the_coordinates(
    damping_mode, fall
):
    # What depends on them is of the order of λ, or of √λ where √λ is what is
    # added to each factor. The next order is below a hundredth.
    dampings = {"eigen": (1e-8, 1e-9), "factored": (1e-10, 1e-11)}
    errors = [disagreement(d, damping_mode) for d in dampings[damping_mode]]
    assert errors[0] < 1e-2
    assert abs(errors[0] / errors[1] / fall - 1) < 0.05


def linear_network():
    return models.built(
        [
            layers.Dense(6, use_bias=False),
            layers.Dense(5, use_bias=False),
            layers.Dense(3, use_bias=False),
        ],
        (4,),
    )


def norm_of_weights(model, x):
    """Returns Σ T tr(Wᵀ A W G) of Gauss–Newton, their K-FAC norm."""
    found = models.factors(model, "gaussian", x, curvature="gauss_newton")
    kernels = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    return sum(
        np.trace(w.T @ a @ w @ g)
        for w, (a, g) in zip(kernels, found.values(), strict=True)
    )


def test_kfac_norm_of_a_linear_network_is_that_of_its_output():
    # Their Lemma 2: every layer adds E‖f‖².
    model, x = linear_network(), models.normal(8, 4)
    output = keras.ops.convert_to_numpy(model(x))
    expected = 3 * np.mean(np.sum(output**2, axis=1))
    assert models.error([norm_of_weights(model, x)], [expected]) < TOLERANCE


def test_kfac_norm_for_whitened_inputs_is_that_of_the_jacobian():
    # Their Theorem 1.
    model = linear_network()
    x = np.sqrt(8) * np.linalg.qr(models.normal(8, 4))[0]
    np.testing.assert_allclose(x.T @ x / 8, np.eye(4), atol=1e-14)
    first, second, third = model.get_weights()
    expected = 3 * np.sum((first @ second @ third) ** 2)
    assert models.error([norm_of_weights(model, x)], [expected]) < TOLERANCE
