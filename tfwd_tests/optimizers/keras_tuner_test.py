"""KerasTuner's best model with the optimizer that trained it."""

import keras
import numpy as np
import pytest

import tfwd

# Of the extra `tune`, which `launch/test.sh --keras=VERSION` goes without.
keras_tuner = pytest.importorskip("keras_tuner")


def build(hp):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.Dense(1),
        ]
    )
    optimizer = tfwd.AdamS(
        0.01,
        weight_decay=hp.Choice("weight_decay", [1e-3]),
        exclude_from_weight_decay="@bias",
    )
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    return model


def test_optimizer_built_with_the_model_is_restored_with_it(tmp_path):
    x = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
    tuner = keras_tuner.RandomSearch(
        build, objective="loss", max_trials=1, directory=tmp_path
    )
    tuner.search(x, x[:, :1], batch_size=4, epochs=2, verbose=0)
    (best,) = tuner.get_best_models()
    assert int(keras.ops.convert_to_numpy(best.optimizer.iterations)) == 8
    assert best.optimizer.weight_decay_factors == (1, 0, 1, 0)
    for moment in best.optimizer.velocities:
        assert np.all(keras.ops.convert_to_numpy(moment) > 0)
