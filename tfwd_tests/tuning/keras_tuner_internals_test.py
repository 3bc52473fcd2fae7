"""Where private names of KerasTuner stand, and that it is the version tried.

With another version, look at these files again.
"""

import pathlib

import keras_tuner

from tfwd import tuning

FOLDER = pathlib.Path(tuning.__file__).parent


def test_keras_tuner_is_the_version_that_was_tried():
    assert keras_tuner.__version__ == "1.4.8"


def test_modules_that_are_not_public_are_of_two_files():
    found = {
        path.name
        for path in FOLDER.rglob("*.py")
        if "keras_tuner.src" in path.read_text("utf-8")
    }
    assert found == {"chief.py", "worker.py"}


def test_private_attributes_that_we_use_exist():
    objective = keras_tuner.Objective("loss", "min")
    oracle = keras_tuner.oracles.HyperbandOracle(objective)
    oracle._set_project_dir("a", "b")
    for name in (
        *("_directory", "_project_name", "_seed_state", "_record_values"),
        *("_brackets", "_current_bracket", "_current_iteration", "_get_size"),
        *("_get_epochs", "_increment_bracket_num", "_start_new_bracket"),
        *("_random_trial", "_remove_completed_brackets", "_save_trial"),
    ):
        assert hasattr(oracle, name)
    bayesian = keras_tuner.oracles.BayesianOptimizationOracle(objective)
    for name in ("_random_state", "_make_gpr", "_vectorize_trials"):
        assert hasattr(bayesian, name)
