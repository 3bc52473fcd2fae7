"""The dense matrices against closed forms, and against losses alone."""

import keras
import numpy as np
import pytest

from tfwd_tests.kfac import dense_curvature


def softmax_regression(examples=5, inputs=4, classes=3):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(examples, inputs))
    y = generator.integers(classes, size=examples)
    model = keras.Sequential([keras.layers.Dense(classes)])
    model.build((None, inputs))
    z = np.asarray(model(x))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    design = np.hstack([x, np.ones((examples, 1))])
    return model, x, y, p, design


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, dtype="float64"
    )


def test_fisher_of_softmax_regression_is_the_textbook_one():
    with dense_curvature.float64():
        model, x, y, p, design = softmax_regression()
        actual = dense_curvature.matrix(
            model, model.layers[0], x, "fisher", cross_entropy(), y
        )
    expected = np.mean(
        [
            np.kron(np.outer(a, a), np.diag(q) - np.outer(q, q))
            for a, q in zip(design, p, strict=True)
        ],
        axis=0,
    )
    np.testing.assert_allclose(actual, expected, atol=1e-14)


def test_empirical_matrix_is_the_mean_square_of_each_examples_gradient():
    with dense_curvature.float64():
        model, x, y, p, design = softmax_regression()
        actual = dense_curvature.matrix(
            model, model.layers[0], x, "empirical", cross_entropy(), y
        )
    gradients = [
        np.outer(a, q - np.eye(3)[label]).ravel()
        for a, q, label in zip(design, p, y, strict=True)
    ]
    expected = np.mean([np.outer(g, g) for g in gradients], axis=0)
    np.testing.assert_allclose(actual, expected, atol=1e-14)


def test_gauss_newton_of_convolution_holds_its_patches_in_kernel_order():
    generator = np.random.default_rng(0)
    images = generator.normal(size=(2, 4, 5, 3))
    with dense_curvature.float64():
        model = keras.Sequential([keras.layers.Conv2D(2, (2, 3))])
        model.build((None, 4, 5, 3))
        actual = dense_curvature.matrix(
            model, model.layers[0], images, "gauss_newton"
        )
    patches = np.array(
        [
            np.append(image[i : i + 2, j : j + 3].ravel(), 1)
            for image in images
            for i in range(3)
            for j in range(3)
        ]
    )
    expected = np.kron(patches.T @ patches / len(patches), np.eye(2))
    np.testing.assert_allclose(actual, expected, atol=1e-14)


@pytest.mark.parametrize("training", (False, True))
def test_normalization_has_a_row_for_scale_and_one_for_shift(training):
    x = np.random.default_rng(0).normal(size=(6, 3))
    with dense_curvature.float64():
        model = keras.Sequential([keras.layers.BatchNormalization()])
        model.build((None, 3))
        actual = dense_curvature.matrix(
            model, model.layers[0], x, "gauss_newton", training=training
        )
    mean, variance = (x.mean(0), x.var(0)) if training else (0, 1)
    rows = np.stack(
        [(x - mean) / np.sqrt(variance + 1e-3), np.ones_like(x)], axis=1
    )
    expected = np.einsum("bpc,bqd,cd->pcqd", rows, rows, np.eye(3)) / 6
    np.testing.assert_allclose(actual, expected.reshape(6, 6), atol=1e-14)


def losses_of_keras():
    generator = np.random.default_rng(1)
    return {
        "softmax": (cross_entropy(), generator.integers(3, size=(5, 2))),
        "gaussian": (
            keras.losses.MeanSquaredError(dtype="float64"),
            generator.normal(size=(5, 2, 3)),
        ),
        "sigmoid": (
            keras.losses.BinaryCrossentropy(from_logits=True, dtype="float64"),
            generator.integers(2, size=(5, 2, 3)),
        ),
    }


@pytest.mark.parametrize("name", ("softmax", "gaussian", "sigmoid"))
def test_fisher_of_relu_network_is_the_hessian_of_the_loss(name):
    # Between kinks a network is linear in one layer's parameters, so nothing
    # but JᵀHJ is left; two positions per example, averaged like the loss.
    loss, y = losses_of_keras()[name]
    generator = np.random.default_rng(0)
    x = generator.normal(size=(5, 2, 4))
    with dense_curvature.float64():
        model = keras.Sequential(
            [keras.layers.Dense(6, activation="relu"), keras.layers.Dense(3)]
        )
        model.build((None, 2, 4))
        layer = model.layers[0]
        start = layer.get_weights()
        direction = [generator.normal(size=w.shape) for w in start]
        block = dense_curvature.matrix(model, layer, x, "fisher", loss, y)

        def value(size):
            layer.set_weights(
                [w + size * d for w, d in zip(start, direction, strict=True)]
            )
            return float(loss(y, model(x)))

        # h is small enough that no unit passes its kink, and the error of the
        # second difference is near h² + 1e-16/h².
        h = 1e-4
        second = (value(h) - 2 * value(0) + value(-h)) / h**2
    v = np.concatenate([direction[0].ravel(), direction[1]])
    np.testing.assert_allclose(v @ block @ v, second, rtol=1e-6)
