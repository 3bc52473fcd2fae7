"""What a search will take."""

import pytest

from tfwd.tuning import estimate
from tfwd.tuning import search
from tfwd_tests.tuning import plans


def work(*arguments):
    plan = plans.make(*arguments)
    return estimate.work(plan, search.oracle_of(plan))


def test_the_work_of_a_grid_is_the_sum_of_its_cells():
    # 386 training examples: 13 steps of 32, 25 of 16, in 2 epochs each.
    found = work("--search=batch_size=choice:32,16", "--trials_per_cell=3")
    assert found == estimate.Work(2, 3, 3 * 2 * (13 + 25), False)
    assert found.runs == 6


def test_the_work_of_drawn_trials_is_that_of_one_times_all():
    found = work("--search=learning_rate=log:1e-3:1e-1", "--tuner=random")
    assert found == estimate.Work(20, 1, 20 * 2 * 13, False)


def test_the_work_of_hyperband_is_its_budget():
    flags = ("--search=learning_rate=log:1e-3:1e-1", "--tuner=hyperband")
    found = work(*flags, "--epochs=3", "--trials_per_cell=2")
    assert found == estimate.Work(6, 2, 2 * 11 * 13, False)


def test_pruned_runs_take_at_most_that():
    found = work("--search=learning_rate=choice:1e-3", "--prune=median")
    assert found.is_bound
    assert "at most 26 training steps" in estimate.text(found, 0.1)


@pytest.mark.parametrize("is_fastest", [False, True])
def test_data_of_a_grid_are_loaded_once_each(monkeypatch, is_fastest):
    loads = plans.count_loads(monkeypatch)
    axes = [
        "--search=learning_rate=log:1e-3:1e-1:3",
        "--search=train_fraction=choice:0.5,1",
    ]
    plan = plans.make(*(axes if is_fastest else axes[::-1]))
    found = estimate.work(plan, search.oracle_of(plan))
    assert found.steps == 2 * 3 * (500 // 32 + 1000 // 32)
    assert loads == [0.5, 1.0]


def test_a_step_is_timed_and_nothing_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plans.make()
    source = plan.sources.of(plan.example)
    assert 0 < estimate.seconds_per_step(plan.example, source) < 60
    assert list(tmp_path.iterdir()) == []
