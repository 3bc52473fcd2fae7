"""KerasTuner's own tuners, unchanged, search an optimizer."""

import keras
import keras_tuner
import numpy as np
import pytest

import tfwd
from tfwd_tests.tuning import networks


def search(tuner):
    x, y = networks.data()
    data = (x[24:], y[24:])
    tuner.search(
        x[:24], y[:24], validation_data=data, batch_size=8, epochs=2, verbose=0
    )
    return tuner.oracle.get_best_trials(100)


@pytest.mark.full
def test_random_search_knows_what_is_active_and_gives_the_model_back(tmp_path):
    build = networks.builder(
        optimizers=("adamw", "adams", "sgds"), run_eagerly=True
    )
    tuner = keras_tuner.RandomSearch(
        build, "val_loss", max_trials=4, seed=3, directory=tmp_path
    )
    trials = search(tuner)
    names = {trial.hyperparameters.get("optimizer") for trial in trials}
    assert len(trials) == 4 and len(names) > 1
    for trial in trials:
        values = trial.hyperparameters.values
        name = values["optimizer"]
        assert set(values) == {
            *("optimizer", "learning_rate"),
            f"{name}/weight_decay",
        }
        model = tuner.load_model(trial)
        config = model.optimizer.get_config()
        assert type(model.optimizer) is tfwd.optimizers.OPTIMIZERS[name]
        for own, key in (
            (config["learning_rate"], "learning_rate"),
            (config["weight_decay"], f"{name}/weight_decay"),
        ):
            np.testing.assert_allclose(own, values[key], rtol=1e-6)
        assert int(model.optimizer.iterations) == 3 * (trial.best_step + 1)
    model.save(tmp_path / "best.keras")
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    assert loaded.optimizer.get_config() == config


def test_grid_search_meets_every_cell_once(tmp_path):
    names = ("sgds", "adamw", "adais")
    build = networks.builder(
        optimizers=names, learning_rate=0.01, weight_decay=0, run_eagerly=True
    )
    tuner = keras_tuner.GridSearch(
        build, "val_loss", max_trials=100, directory=tmp_path
    )
    cells = [trial.hyperparameters.values for trial in search(tuner)]
    assert sorted(cells, key=str) == sorted(
        ({"optimizer": name} for name in names), key=str
    )


@pytest.mark.full
def test_grid_over_a_timescale_has_eleven_cells_for_each_optimizer(tmp_path):
    build = networks.builder(
        optimizers=("sgds", "adamw"),
        learning_rate=0.01,
        coordinate="timescale",
        steps_per_epoch=3,
        run_eagerly=True,
    )
    tuner = keras_tuner.GridSearch(
        build, "val_loss", max_trials=100, directory=tmp_path
    )
    cells = [trial.hyperparameters.values for trial in search(tuner)]
    # KerasTuner takes ten values of a range, and its lower end.
    for name in ("sgds", "adamw"):
        assert len({cell.get(f"{name}/timescale") for cell in cells}) == 11 + 1
    assert len(cells) == 22


@pytest.mark.skipif(
    keras.backend.backend() not in ("tensorflow", "jax"),
    reason="K-FAC is of TensorFlow and JAX",
)
def test_kfac_attached_in_build_trains_with_the_damping_of_the_trial(tmp_path):
    build = networks.builder(
        optimizers=("kfac",), factor_every=1, inverse_every=1
    )
    tuner = keras_tuner.RandomSearch(
        build, "val_loss", max_trials=1, seed=1, directory=tmp_path
    )
    (trial,) = search(tuner)
    damping = trial.hyperparameters.get("kfac/damping")
    assert damping > 1e-4
    optimizer = tuner.load_model(trial).optimizer
    own = optimizer.get_config()["damping"]
    np.testing.assert_allclose(own, damping, rtol=1e-6)
    for a, g in optimizer.factors().values():
        assert np.abs(a).sum() > 0 and np.abs(g).sum() > 0
