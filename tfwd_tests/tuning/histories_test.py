"""What pruning reads of the runs of a search."""

import math

import pytest

from tfwd.tuning import objective
from tfwd.tuning.runs import histories
from tfwd_tests.tuning import metrics

ACCURACY = objective.Objective("validation_accuracy", True)


def test_a_history_is_of_costs(tmp_path):
    run = metrics.write(tmp_path / "trial_0" / "seed_0", 0.5, 0.75, None)
    found = histories.Histories(tmp_path, ACCURACY)
    assert found.of(run) == [-0.5, -0.75, math.inf]
    assert found.of(tmp_path / "trial_1" / "seed_0") == []


def test_a_history_grows_with_its_file(tmp_path):
    found = histories.Histories(tmp_path, ACCURACY)
    for accuracies in ((0.5,), (0.5, 0.75)):
        run = metrics.write(tmp_path / "trial_0" / "seed_0", *accuracies)
        assert found.of(run) == [-each for each in accuracies]


@pytest.mark.parametrize("is_relative", [False, True])
def test_the_others_are_all_runs_but_one(tmp_path, monkeypatch, is_relative):
    runs = [("trial_0", "seed_0"), ("trial_0", "seed_1"), ("trial_1", "seed_0")]
    for number, (trial, seed) in enumerate(runs):
        metrics.write(tmp_path / "search" / trial / seed, number / 4)
    metrics.write(tmp_path / "search" / "best", 1.0)
    folder = tmp_path / "search"
    if is_relative:
        # As --output_dir is where it is not given.
        monkeypatch.chdir(tmp_path)
        folder = folder.relative_to(tmp_path)
    found = histories.Histories(folder, ACCURACY)
    own = tmp_path / "search" / "trial_0" / "seed_1"
    assert found.others(own) == {
        ("trial_0", "seed_0"): [0.0],
        ("trial_1", "seed_0"): [-0.5],
    }


def test_a_row_that_is_being_written_is_waited_for(tmp_path):
    run = metrics.write(tmp_path / "trial_0" / "seed_0", 0.5)
    found = histories.Histories(tmp_path, ACCURACY)
    assert found.of(run) == [-0.5]
    whole = (run / "metrics.csv").read_text()
    (run / "metrics.csv").write_text(whole + "2,2,1e-")
    assert found.of(run) == [-0.5]
    metrics.write(run, 0.5, 0.25)
    assert found.of(run) == [-0.5, -0.25]
