"""Hooked layers, and a callback that records them."""

import keras
import numpy as np
from keras import layers
from keras import ops

from tfwd.kfac import capture

OWNER = object()


class Recorder:
    """Records calls and passes them on."""

    def __init__(self):
        self.names = []
        self.calls = []

    def __call__(self, layer, linear, activation, inputs):
        z = linear(inputs)
        self.names.append(layer.name)
        self.calls.append((inputs, z, activation))
        return activation(z)


def inputs_of(*shape):
    return ops.convert_to_tensor(
        np.random.default_rng(0).normal(size=shape).astype("float32")
    )


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def network(activation="relu"):
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation=activation, name="first"),
            layers.BatchNormalization(name="normalization"),
            layers.Dense(4, activation="softmax", name="second"),
        ]
    )


def hooked(layer, owner=OWNER):
    if not layer.built:
        layer.build((None, 6))
    capture.install(layer, owner)
    return layer


def hook_all(model, owner=OWNER):
    for layer in model.layers:
        capture.install(layer, owner)
    return model


def has_hook(layer):
    return "call" in vars(layer)
