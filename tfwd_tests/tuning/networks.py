"""A model-building function, and the data of it."""

import keras
import numpy as np

import tfwd


def data():
    """Returns 32 examples of three numbers in two classes."""
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    return x, (x[:, 0] > 0).astype("int32")


def builder(run_eagerly=False, **arguments):
    """Returns a `build(hp)` with the optimizer of these arguments.

    Compiling takes a second, as three hundred steps that are not compiled do.
    """

    def build(hp):
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(4, "tanh"),
                keras.layers.Dense(2),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = tfwd.tuning.optimizer(hp, **arguments)
        if isinstance(optimizer, tfwd.KFAC):
            optimizer.attach(model, loss)
        model.compile(optimizer, loss, run_eagerly=run_eagerly)
        optimizer.build(model.trainable_variables)
        return model

    return build
