"""Runs of the training binary in a search of KerasTuner's own."""

import keras_tuner
import numpy as np
import pytest

import tfwd
from tfwd import train
from tfwd.training.config import settings as settings_lib
from tfwd_tests.training import runs

SETTINGS = settings_lib.Settings(
    **{"epochs": 2, "hidden_units": 16, "train_fraction": 0.3},
    **{"batch_size": 64, "num_validation": 200, "optimizer": "adams"},
)
SPACE = {
    "learning_rate": "log:1e-3:1e-2",
    "optimizer": "choice:adams,adamw",
    "stable": "log:1e-4:1e-3",
}
LINKS = {"weight_decay": "optimizer_factor * stable"}
ACCURACY = keras_tuner.Objective("validation_accuracy", "max")


def _searched(folder, kind=keras_tuner.RandomSearch, **arguments):
    tuner = kind(
        tfwd.tuning.hypermodel(SETTINGS, SPACE, LINKS),
        ACCURACY,
        seed=3,
        directory=str(folder),
        project_name="search",
        **arguments,
    )
    tuner.search(verbose=0)
    return tuner


def test_a_trial_is_a_run_with_its_values_and_links(tmp_path):
    tuner = _searched(tmp_path, max_trials=2, executions_per_trial=2)
    for trial in tuner.oracle.get_best_trials(2):
        folder = tmp_path / "search" / f"trial_{trial.trial_id}"
        values = trial.hyperparameters.values
        factor = 1000 if values["optimizer"] == "adamw" else 1
        accuracies = []
        for seed in (0, 1):
            run = folder / f"seed_{seed}"
            flags = (run / "flags.txt").read_text().splitlines()
            assert f"--seed={seed}" in flags
            assert f"--learning_rate={values['learning_rate']}" in flags
            assert f"--weight_decay={factor * values['stable']}" in flags
            rows = runs.rows(run)
            accuracies.append(float(rows[-1]["validation_accuracy"]))
        assert trial.score == np.mean(accuracies)


def test_the_best_model_has_the_weights_of_its_run(tmp_path):
    tuner = _searched(tmp_path, max_trials=1)
    (model,) = tuner.get_best_models()
    stored = runs.weights(tmp_path / "search" / "trial_0" / "seed_0")
    arrays = [
        value
        for path, value in sorted(stored.items())
        if path.startswith("layers")
    ]
    for weight in model.trainable_weights:
        assert any(np.array_equal(weight.numpy(), each) for each in arrays)


@pytest.mark.full
def test_a_promoted_trial_goes_on_with_its_optimizer(tmp_path):
    tuner = _searched(tmp_path, keras_tuner.Hyperband, max_epochs=2, factor=2)
    promoted = [
        trial
        for trial in tuner.oracle.trials.values()
        if trial.hyperparameters.values.get("tuner/trial_id")
    ]
    assert promoted
    run = tmp_path / "search" / f"trial_{promoted[0].trial_id}" / "seed_0"
    code = train.main(
        [f"--flagfile={run}/flags.txt", f"--output_dir={tmp_path}/whole"]
    )
    assert code == 0
    assert runs.rows(run) == runs.rows(tmp_path / "whole")
    # Of the copy alone it is known that its first epoch was not trained again.
    log = run.with_name("seed_0.log").read_text()
    assert "Epoch 2/2" in log and "Epoch 1/2" not in log


def test_a_trial_that_diverges_fails_with_its_reason(tmp_path):
    tuner = keras_tuner.RandomSearch(
        tfwd.tuning.hypermodel(
            settings_lib.Settings(
                **{"epochs": 1, "train_fraction": 0.3, "optimizer": "sgd"},
                num_validation=200,
            ),
            {"learning_rate": "choice:1e30"},
        ),
        ACCURACY,
        max_trials=1,
        max_consecutive_failed_trials=5,
        directory=str(tmp_path),
    )
    tuner.search(verbose=0)
    (trial,) = tuner.oracle.trials.values()
    assert trial.status == "FAILED"
    assert "diverged: " in trial.message


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"lerning_rate": "log:1e-3:1e-2"}, "lerning_rate"),
        ({"learning_rate": "log:0:1e-2"}, "LOW above 0"),
        ({}, "at least once"),
        ({"damping": "log:1e-3:1e-2"}, "damping"),
    ],
)
def test_what_cannot_be_searched_is_refused(space, message):
    with pytest.raises(ValueError, match=message):
        tfwd.tuning.hypermodel(SETTINGS, space)


def test_settings_must_be_settings():
    with pytest.raises(ValueError, match="must be a Settings"):
        tfwd.tuning.hypermodel({}, SPACE)
