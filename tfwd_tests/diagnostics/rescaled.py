"""Networks with normalization whose moving statistics are not trivial."""

import keras
import numpy as np
from keras import layers


def wander(model, images, seed=0):
    """Gives weights and moving statistics values that training could have."""
    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        noise = generator.normal(size=variable.shape)
        variable.assign(np.asarray(variable) + noise / 10)
    for _ in range(2):
        model(images, training=True)
    return model


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def convolutional():
    """Returns a network with a bias before its normalization."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(momentum=0.5, name="norm"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(3, name="logits"),
        ]
    )


def dense():
    """Returns a normalized perceptron, of which `hidden` is normalized."""
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, name="hidden"),
            layers.BatchNormalization(momentum=0.5, name="norm"),
            layers.ReLU(),
            layers.Dense(3, name="logits"),
        ]
    )


def concatenating():
    """Returns a network whose last normalization sees two convolutions."""
    inputs = keras.Input((6, 6, 2))
    first = layers.Conv2D(3, 1, name="first")(inputs)
    x = layers.BatchNormalization(momentum=0.5, name="inner")(first)
    second = layers.Conv2D(2, 3, padding="same", name="second")(x)
    x = layers.Concatenate()([second, first])
    x = layers.BatchNormalization(momentum=0.5, name="outer")(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(3, name="logits")(x))


def outputs(model, inputs):
    """Returns the predictions as an array."""
    return keras.ops.convert_to_numpy(model(inputs, training=False))


def change(model, inputs, before):
    """Returns max |Δ|/max |outputs| against earlier predictions."""
    difference = np.abs(outputs(model, inputs) - before)
    return difference.max() / np.abs(before).max()


def norm(model, name):
    """Returns the norm of a layer's kernel."""
    kernel = keras.ops.convert_to_numpy(model.get_layer(name).kernel)
    return np.linalg.norm(np.float64(kernel))


def values(variable):
    return keras.ops.convert_to_numpy(variable)
