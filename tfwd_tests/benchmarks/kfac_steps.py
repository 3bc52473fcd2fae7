"""The models of the K-FAC benchmark and their training steps.

On TensorFlow a compiled training step, with `update_factors` and
`update_inverses` before it; on JAX `train_on_batch`.
"""

import contextlib

import keras

import tfwd

BACKEND = keras.backend.backend()
FACTOR_EVERY, INVERSE_EVERY = 10, 100
# Numbers of steps on which nothing, the factors, and all is due.
PLAIN, FACTOR, INVERSE = 1, FACTOR_EVERY, INVERSE_EVERY
SIZES = (784, 1000, 500, 250, 30, 10)
QUICK_SIZES = (12, 8, 10)
# Filters and strides.
CONVOLUTIONS = ((32, 1), (64, 2), (64, 2), (128, 2))


def mlp(quick):
    """Returns the network 784-1000-500-250-30-10 and its input's shape."""
    sizes = QUICK_SIZES if quick else SIZES
    inputs = x = keras.Input(sizes[:1])
    for units in sizes[1:-1]:
        x = keras.layers.Dense(units, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(sizes[-1])(x))


def conv(quick):
    """Returns the network 3-32-64-64-128, halving the image three times."""
    side, divisor, layers = (8, 8, 2) if quick else (32, 1, 4)
    inputs = x = keras.Input((side, side, 3))
    for filters, strides in CONVOLUTIONS[:layers]:
        x = keras.layers.Conv2D(
            filters // divisor, 3, strides, "same", activation="relu"
        )(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x))


MODELS = {"mlp": mlp, "conv": conv}


def compiled_model(make_model, optimizer):
    """Returns a model, the same each time, compiled with the optimizer."""
    keras.utils.set_random_seed(1)
    model = make_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss)
    if isinstance(optimizer, tfwd.KFAC):
        optimizer.attach(model)
    optimizer.build(model.trainable_variables)
    return model


def kfac(**arguments):
    """Returns the optimizer with the schedule of the benchmark."""
    return tfwd.KFAC(
        1e-4,
        factor_every=FACTOR_EVERY,
        inverse_every=INVERSE_EVERY,
        **arguments,
    )


def stepper(model, images, labels, fast=True):
    """Returns a function of a step's number that takes it, with what is due.

    Args:
        model: A compiled model.
        images: Inputs of every step.
        labels: Their labels.
        fast: Whether to precondition inside the backward pass, where that is
            cheaper.
    """
    if BACKEND == "jax":
        return _jax_stepper(model, images, labels)
    return _tensorflow_stepper(model, images, labels, fast)


def _tensorflow_stepper(model, images, labels, fast):
    import tensorflow as tf

    optimizer = model.optimizer
    is_kfac = isinstance(optimizer, tfwd.KFAC)
    variables = model.trainable_variables
    images, labels = tf.constant(images), tf.constant(labels)

    @tf.function
    def train(images, labels):
        inside = contextlib.nullcontext()
        if is_kfac and fast:
            inside = optimizer.preconditioned_backward()
        with inside:
            with tf.GradientTape() as tape:
                value = model.loss(labels, model(images, training=True))
            gradients = tape.gradient(value, [v.value for v in variables])
            optimizer.apply(gradients, variables)

    def step(number):
        if is_kfac:
            work = optimizer.schedule.before(number)
            if work.factors:
                optimizer.update_factors(images)
            if work.inverses:
                optimizer.update_inverses(work.inverses)
        train(images, labels)

    return step


def _jax_stepper(model, images, labels):
    def step(number):
        model.optimizer.iterations.assign(number)
        model.train_on_batch(images, labels)

    return step


def plain_path():
    """Returns K-FAC as it preconditions outside the backward pass.

    In `fit`, where it chooses by itself, L2 decay makes it.
    """
    if BACKEND == "jax":
        return kfac(weight_decay_mode="l2", weight_decay=1e-9)
    return kfac()
