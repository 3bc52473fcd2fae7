"""Networks without biases, homogeneous in their inputs and weights.

A chain is positively homogeneous: f(cx) = c f(x), and each of its weight layers
adds one to the degree in θ. n_L is the number of weight layers, the L + 1 of
Zhang et al. 2019. All variables are ordinary random numbers.
"""

import keras
from keras import layers

from tfwd_tests.kfac import models


def dense(units, **options):
    return layers.Dense(units, use_bias=False, **options)


def convolution(filters, **options):
    return layers.Conv2D(filters, 2, use_bias=False, **options)


# Name: a function of no argument that returns layers, an example's shape, n_L.
CHAINS = {
    "relu": (
        lambda: [
            dense(6, activation="relu"),
            dense(5, activation="relu"),
            dense(3),
        ],
        (4,),
        3,
    ),
    "leaky_relu": (
        lambda: [dense(6), layers.LeakyReLU(negative_slope=0.3), dense(3)],
        (4,),
        2,
    ),
    "max_pooling": (
        lambda: [
            convolution(3, activation="relu", padding="same"),
            layers.MaxPooling2D(2),
            convolution(2),
            layers.Flatten(),
            dense(3),
        ],
        (4, 4, 2),
        3,
    ),
    "average_pooling": (
        lambda: [
            convolution(3, activation="relu"),
            layers.AveragePooling2D(2, padding="same"),
            layers.GlobalAveragePooling2D(),
            dense(3),
        ],
        (4, 4, 2),
        2,
    ),
}


def chain(name, seed=0):
    """Returns a network of `CHAINS`, and n_L."""
    stack, shape, count = CHAINS[name]
    return models.built(stack(), shape, seed), count


def residual():
    """Returns a network of four weight layers, two of them by a shortcut."""
    inputs = keras.Input((4,))
    hidden = dense(5, activation="relu")(inputs)
    branch = dense(5)(dense(6, activation="relu")(hidden))
    total = layers.ReLU()(layers.Add()([hidden, branch]))
    return models.filled(keras.Model(inputs, dense(3)(total)))
