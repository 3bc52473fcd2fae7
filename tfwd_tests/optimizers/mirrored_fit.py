"""A linear model for `fit`, on one device or on two replicas."""

import keras
import numpy as np

import tfwd
from tfwd_tests.optimizers import replicas


def linear(optimizer, scope, **settings):
    """Returns a model whose kernel has the mean of a batch as its gradient."""
    with scope:
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(1, use_bias=False)]
        )
        model.layers[0].kernel.assign([[1.0], [-2.0]])
        model.compile(
            optimizer(),
            loss=lambda _, output: keras.ops.mean(output, -1),
            **settings,
        )
    return model


def plain_sgd():
    return tfwd.SGD(0.5, momentum=0.0)


def mirrored(optimizer=plain_sgd, **settings):
    return linear(optimizer, replicas.strategy().scope(), **settings)


def examples(rows):
    """Returns inputs [rows, 2] and targets that are not looked at."""
    x = np.random.default_rng(0).normal(size=(rows, 2)).astype("float32")
    return x, np.zeros(rows, "float32")


def fit(model, x, y, batch_size):
    model.fit(x, y, batch_size=batch_size, shuffle=False, verbose=0)
    return model.get_weights()[0][:, 0]
