"""The optimizers in `compile` and `fit`."""

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.optimizers import harness

STABLE = (("SGDS", 0.05), ("AdamS", 0.01), ("AMSGradS", 0.01), ("AdaiS", 0.5))


def examples():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(128, 8)).astype("float32")
    return x, np.sin(x @ generator.normal(size=(8, 2))).astype("float32")


def trained(name, learning_rate, jit_compile="auto", callbacks=()):
    keras.utils.set_random_seed(1)
    x, y = examples()
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="tanh"),
            keras.layers.Dense(2),
        ]
    )
    optimizer = getattr(tfwd, name)(
        learning_rate, weight_decay=0.01, exclude_from_weight_decay="@bias"
    )
    model.compile(optimizer=optimizer, loss="mse", jit_compile=jit_compile)
    model.fit(
        x,
        y,
        batch_size=32,
        epochs=4,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )
    return model


@pytest.mark.parametrize(("name", "learning_rate"), STABLE)
def test_fit_gives_the_same_weights_with_and_without_xla(name, learning_rate):
    plain = trained(name, learning_rate, jit_compile=False).get_weights()
    compiled = trained(name, learning_rate, jit_compile=True).get_weights()
    assert harness.relative_error(compiled, plain) <= 2e-6


class SetWeightDecay(keras.callbacks.Callback):
    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.weight_decay = self.values[epoch]


def test_callback_changes_the_coefficient_of_a_running_fit():
    off = SetWeightDecay([0.0] * 4)
    without = trained("SGDS", 0.05, callbacks=[off])
    with_decay = trained("SGDS", 0.05)
    late = trained(
        "SGDS", 0.05, callbacks=[SetWeightDecay([0.0, 0.0, 0.01, 0.01])]
    )
    norms = [
        np.linalg.norm(model.layers[0].get_weights()[0])
        for model in (with_decay, late, without)
    ]
    assert norms[0] < norms[1] < norms[2]
