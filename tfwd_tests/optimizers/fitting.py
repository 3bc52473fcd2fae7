"""One small `fit` for every optimizer."""

import keras
import numpy as np

import tfwd
from tfwd_tests.optimizers import table

LEARNING_RATES = {
    row.name: 2 * row.learning_rate for row in table.ROWS if not row.label
}


def examples():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(128, 8)).astype("float32")
    return x, np.sin(x @ generator.normal(size=(8, 2))).astype("float32")


def trained(name, jit_compile="auto", callbacks=()):
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
        LEARNING_RATES[name],
        weight_decay=0.01,
        exclude_from_weight_decay="@bias",
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
