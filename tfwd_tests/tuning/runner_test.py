"""A run of a trial: its settings, where it ends, and how."""

import pathlib

import pytest

from tfwd.tuning.engine import outcome
from tfwd.tuning.runs import runner
from tfwd.tuning.runs import training_run
from tfwd_tests.tuning import metrics
from tfwd_tests.tuning import plans

CELL = {"learning_rate": 0.01}
RATES = "--search=learning_rate=log:0.01:0.1:2"


@pytest.fixture
def trained(monkeypatch):
    """Lets runs have these accuracies; the list holds what they were told."""
    calls = []

    def train(settings, source=None, splits=None, goes_on=None):
        calls.append((settings, splits))
        epoch = train.first
        while epoch < settings.schedule.epochs and goes_on(epoch):
            epoch += 1
            metrics.write(_path(settings), *train.accuracies[:epoch])
        return train.ended

    train.first, train.accuracies = 0, [0.5, 0.75, 0.625, 0.6]
    train.ended = outcome.COMPLETED, ""
    monkeypatch.setattr(training_run, "train", train)
    train.calls = calls
    return train


def _path(settings):
    return pathlib.Path(settings.run.output_dir)


def _run(tmp_path, *flags, values=CELL, trial="trial_3", seed=0, on_epoch=None):
    plan = plans.make(RATES, "--epochs=4", *flags)
    told = [] if on_epoch is None else on_epoch
    one = runner.Runner(plan, tmp_path, lambda *each: told.append(each[1:]))
    return one(values, tmp_path / trial, seed)


def test_a_run_is_that_of_its_cell_and_seed(tmp_path, trained):
    flags = ("--link=weight_decay=1e-4 / learning_rate", "--resume=must")
    flags += (f"--output_dir={tmp_path}",)
    found = _run(tmp_path, *flags, seed=5)
    ((settings, splits),) = trained.calls
    assert settings.optimizer.learning_rate == 0.01
    assert settings.optimizer.weight_decay == 1e-4 / 0.01
    assert settings.run.seed == 5
    assert settings.data.num_validation == 150
    assert settings.run.output_dir == str(tmp_path / "trial_3" / "seed_5")
    # The first trial has nothing to go on with.
    assert settings.run.resume == "auto"
    assert splits == ("validation",)
    assert found == outcome.Outcome("completed", 0.6, 4, 2, 2.0)


def test_the_best_epoch_may_count(tmp_path, trained):
    found = _run(tmp_path, "--select_on=best")
    assert found == outcome.Outcome("completed", 0.75, 4, 2, 2.0)


def test_a_trial_of_hyperband_ends_where_its_round_does(tmp_path, trained):
    told, trained.first = [], 1
    values = CELL | {"tuner/epochs": 3, "tuner/initial_epoch": 1}
    found = _run(tmp_path, values=values, on_epoch=told)
    assert found == outcome.Outcome("completed", 0.625, 3, 2, 1.5)
    assert told == [(1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize("status", [outcome.DIVERGED, outcome.FAILED])
def test_a_run_without_a_result_has_its_reason(tmp_path, trained, status):
    trained.ended = status, "why"
    found = _run(tmp_path)
    assert found == outcome.Outcome(status, None, 4, 2, 2.0, "why")


def _others(folder, *accuracies):
    for number, each in enumerate(accuracies):
        metrics.write(folder / f"trial_{number}" / "seed_0", each, each, each)


def test_a_run_worse_than_the_median_is_pruned(tmp_path, trained):
    _others(tmp_path, 0.8, 0.9, 0.7)
    found = _run(tmp_path, "--prune=median", "--select_on=best")
    assert (found.status, found.last_epoch) == ("pruned", 2)
    assert "the median of 3 others" in found.reason
    assert found.objective == 0.75


def test_a_run_is_not_pruned_after_its_last_epoch(tmp_path, trained):
    _others(tmp_path, 0.8, 0.9, 0.7)
    values = CELL | {"tuner/epochs": 2}
    found = _run(tmp_path, "--prune=median", values=values)
    assert found.status == "completed"


def test_the_halves_are_the_others_where_the_folder_is_relative(
    tmp_path, trained, monkeypatch
):
    # Of three the second is one of two others, and not its own third.
    _others(tmp_path, 0.8)
    monkeypatch.chdir(tmp_path)
    plan = plans.make(RATES, "--epochs=4", "--prune=halving")
    one = runner.Runner(plan, pathlib.Path(), lambda *_: None)
    found = one(CELL, tmp_path / "trial_3", 0)
    assert found.status == "completed"


def test_other_seeds_of_a_pruned_run_do_not_begin(tmp_path, trained):
    trial = tmp_path / "trial_3"
    trial.mkdir()
    pruned = outcome.Outcome("pruned", 0.5, 1, 1, 1.0, "why")
    outcome.path_of(trial, 0).write_text(pruned.to_json())
    flags = ("--prune=median", "--trials_per_cell=2")
    found = _run(tmp_path, *flags, seed=1)
    assert (found.status, found.last_epoch) == ("pruned", 0)
    assert "seed 0 was pruned" in found.reason
    assert trained.calls == []
