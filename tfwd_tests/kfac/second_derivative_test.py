"""A network that is differentiated in its own loss takes the plain path."""

import keras
import numpy as np
import pytest

import tfwd
from tfwd.kfac import backward
from tfwd_tests.kfac import training

BACKEND = keras.backend.backend()
DAMPING = 1e8
LEARNING_RATE = 0.02


def slope(model, x):
    """Returns the gradient of the first output with respect to x."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = model(x)[:, 0]
        return tape.gradient(value, x)
    import jax

    return jax.grad(lambda x: model(x)[:, 0].sum())(x)


class Penalized(keras.losses.Loss):
    """The mean squared error, and the squared slope at fixed points."""

    def __init__(self, model, points):
        super().__init__()
        self.inner = model
        self.points = keras.ops.convert_to_tensor(points)

    def call(self, y, prediction):
        penalty = keras.ops.sum(slope(self.inner, self.points) ** 2)
        return keras.ops.mean((y - prediction) ** 2, axis=-1) + penalty


def change(optimizer, batches=2):
    """Returns what a few steps of 8 examples change, by any optimizer."""
    model = training.mlp((32, 32))
    before = model.get_weights()
    x, _ = training.examples(8 * batches)
    y = np.ones((len(x), training.CLASSES), "float32")
    if isinstance(optimizer, tfwd.KFAC):
        optimizer.attach(model, keras.losses.MeanSquaredError())
    model.compile(optimizer, Penalized(model, x[:8]))
    training.fit(model, (x, y), batch_size=8)
    after = model.get_weights()
    return [new - old for new, old in zip(after, before, strict=True)]


@pytest.mark.parametrize("plain", [{}, {"kl_clip": 1e30}], ids=["", "plain"])
def test_fit_with_huge_damping_is_sgd_also_with_a_gradient_penalty(plain):
    optimizer = tfwd.KFAC(LEARNING_RATE * DAMPING, damping=DAMPING, **plain)
    expected = change(keras.optimizers.SGD(LEARNING_RATE, momentum=0.9))
    # (A + π√λ I) ⊗ (G + √λ/π I) is λ up to a few √(AG/λ), of 1e-4.
    assert training.error(change(optimizer), expected) <= 2e-3
    assert optimizer.attachment.differentiates_twice == (not plain)


def test_loop_of_ones_own_is_refused_in_one_line():
    model = training.compiled(training.mlp((32, 32)))
    optimizer = model.optimizer
    x, _ = training.examples(8)
    optimizer.update_factors(x)
    optimizer.update_inverses()
    x = keras.ops.convert_to_tensor(x)
    with (
        pytest.raises(ValueError, match="differentiates the network") as error,
        optimizer.preconditioned_backward(),
    ):
        penalty_gradients(model, x)
    assert str(error.value) == backward.SECOND_DERIVATIVE
    # Outside of it nothing is refused.
    assert np.abs(penalty_gradients(model, x)[0]).max() > 0


def penalty_gradients(model, x):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = tf.reduce_sum(slope(model, x) ** 2)
        return tape.gradient(value, [model.layers[0].kernel.value])
    import jax

    def penalty(values):
        pairs = zip(model.trainable_variables, values, strict=True)
        with keras.StatelessScope(list(pairs)):
            return (slope(model, x) ** 2).sum()

    return jax.grad(penalty)([v.value for v in model.trainable_variables])
