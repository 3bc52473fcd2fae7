"""A step on a loss that has a second term, which may differentiate the model.

K-FAC damped with a huge λ, at the learning rate ηλ, is SGD at η: factors and
inverses do not count, and the truth is the gradient of the loss itself.
"""

import keras
import numpy as np
from keras import ops

import tfwd
from tfwd_tests.kfac import training

BACKEND = keras.backend.backend()
DAMPING = 1e8
LEARNING_RATE = 0.02
# (A + π√λ I) ⊗ (G + √λ/π I) is λ up to a few √(AG/λ), of 1e-4.
TOLERANCE = 2e-3
BATCH = 8
WIDTHS = (32, 32)


class Penalized(keras.losses.Loss):
    """The mean squared error, and a penalty that is a function of the model.

    Args:
        model: The model.
        penalty: A function of (model, points) that returns a scalar.
    """

    def __init__(self, model, penalty):
        super().__init__()
        points = ops.convert_to_tensor(batch()[0])
        # Not an attribute that Keras tracks, or saves.
        self.penalty = lambda: penalty(model, points)

    def call(self, y, prediction):
        return ops.mean((y - prediction) ** 2, axis=-1) + self.penalty()


def batch():
    """Returns inputs and targets of one batch."""
    x, _ = training.examples(BATCH)
    return x, np.ones((BATCH, training.CLASSES), "float32")


def attached(model=None):
    """Returns a perceptron and the K-FAC that is to be SGD, with inverses."""
    model = model or training.mlp(WIDTHS)
    optimizer = tfwd.KFAC(
        LEARNING_RATE * DAMPING,
        damping=DAMPING,
        momentum=0.0,
        factor_every=1000,
        inverse_every=1000,
    )
    optimizer.attach(model, keras.losses.MeanSquaredError())
    optimizer.build(model.trainable_variables)
    optimizer.update_factors(batch()[0])
    optimizer.update_inverses()
    return model, optimizer


def change_in_fit(model, optimizer, loss, **settings):
    """Returns what one step of `fit` changes."""
    # What an optimizer found out of one loss holds for the next one.
    optimizer.attachment.differentiates_twice = False
    model.compile(optimizer, loss, **settings)
    x, y = batch()
    before = model.get_weights()
    training.fit(model, (x, y), batch_size=BATCH)
    return difference(model, before)


def change_in_loop(model, optimizer, loss):
    """Returns what one step of a loop of one's own changes."""
    before = model.get_weights()
    step(model, optimizer, loss, *batch())
    return difference(model, before)


def change_of_sgd(model, loss):
    """Returns what a step of SGD changes."""

    def compute():
        return gradients(model, loss, *batch())

    if BACKEND == "tensorflow":
        import tensorflow as tf

        compute = tf.function(compute, autograph=False)
    return [-LEARNING_RATE * ops.convert_to_numpy(g) for g in compute()]


def difference(model, before):
    """Returns what the weights are more than before."""
    pairs = zip(model.get_weights(), before, strict=True)
    return [new - old for new, old in pairs]


def step(model, optimizer, loss, x, y):
    """Takes a compiled step within `preconditioned_backward`."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def take(x, y):
            with optimizer.preconditioned_backward():
                found = gradients(model, loss, x, y)
                optimizer.apply(found, model.trainable_variables)

        # AutoGraph would put the traceback into the message.
        take = tf.function(take, autograph=False)
        take(ops.convert_to_tensor(x), ops.convert_to_tensor(y))
        return
    import jax

    def take(values, kept):
        with optimizer.preconditioned_backward(kept):
            found = gradients(model, loss, x, y, values)
            return optimizer.stateless_apply(kept, found, values)

    variables = model.trainable_variables
    kept = [v.value for v in optimizer.variables]
    values, _ = jax.jit(take)([v.value for v in variables], kept)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def gradients(model, loss, x, y, values=None):
    """Returns the gradients of the loss by the backend."""
    variables = model.trainable_variables
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        return tape.gradient(value, [v.value for v in variables])
    import jax

    def value_of(values):
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return loss(y, model(x, training=True))

    return jax.grad(value_of)(values or [v.value for v in variables])
