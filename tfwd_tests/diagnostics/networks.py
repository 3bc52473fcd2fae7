"""Small networks, in all of which batch statistics are far from the moving."""

import keras
import numpy as np
from keras import layers


def filled(model, seed=0):
    """Gives all floats of a model ordinary random numbers."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        if keras.backend.is_float_dtype(variable.dtype):
            values = generator.normal(size=variable.shape)
            positive = variable.name == "moving_variance"
            variable.assign(0.5 + values**2 if positive else values)
    return model


def stacked(shape, *stack):
    """Returns a Sequential of layers, filled."""
    return filled(keras.Sequential([keras.Input(shape), *stack]))


def images(shape=(6, 6, 3), count=5, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape))


def conv(name, filters=4, size=3, **arguments):
    arguments = {"padding": "same", "use_bias": False, **arguments}
    return layers.Conv2D(filters, size, name=name, **arguments)


def norm(**arguments):
    return layers.BatchNormalization(**arguments)


def ended(x, out="head"):
    """Averages over positions and applies a last Dense with bias."""
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(2, name=out)(x)
