"""Which cell of a search is the best."""

import math

import pytest

from tfwd.tuning import objective
from tfwd.tuning.output import results

UP = objective.Objective("validation_accuracy", True)
DOWN = objective.Objective("validation_loss", False)


def rows(trial, *values, **more):
    """Rows of a trial: a number is a completed seed, a text a status."""
    return [
        {
            "trial": trial,
            "seed": seed,
            "learning_rate": 0.1,
            "objective": None if isinstance(value, str) else value,
            "status": value if isinstance(value, str) else "completed",
            "last_epoch": 1,
            "best_epoch": 1,
            "seconds": 1.0,
            "reason": None,
        }
        | more
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(("goal", "expected"), [(UP, "1"), (DOWN, "2")])
def test_best_cell_is_that_of_the_best_mean(goal, expected):
    found = rows("0", 0.5, 0.5) + rows("1", 0.5, 0.75) + rows("2", 0.9, 0.0)
    assert results.best(found, goal).trial == expected


@pytest.mark.parametrize("goal", [UP, DOWN])
def test_of_equal_cells_the_earliest_is_the_best(goal):
    found = rows("3", 0.25, 0.5) + rows("7", 0.5, 0.25) + rows("9", 0.375)
    assert results.best(found, goal).trial == "3"


@pytest.mark.parametrize(
    "other", ["diverged", "failed", "pruned", math.nan, math.inf]
)
def test_cell_of_which_a_seed_did_not_complete_is_never_the_best(other):
    found = rows("0", 0.1, 0.2) + rows("1", 0.9, other)
    assert results.best(found, UP).trial == "0"
    assert results.best(rows("1", 0.9, other), UP) is None


def test_objective_of_a_pruned_run_does_not_count():
    pruned = rows("0", 0.9, status="pruned", reason="below the median")
    assert results.best(pruned + rows("1", 0.1), UP).trial == "1"


def test_cell_with_fewer_seeds_than_asked_for_is_passed_over():
    found = rows("0", 0.1, 0.2) + rows("1", 0.9)
    assert results.best(found, UP).trial == "1"
    assert results.best(found, UP, seeds=2).trial == "0"


def test_cell_has_mean_deviation_and_values():
    (cell,) = results.cells(rows("0", 0.25, 0.5, 0.75))
    assert (cell.mean, cell.deviation) == (0.5, 0.25)
    assert cell.values == {"learning_rate": 0.1}
    assert cell.objectives == {0: 0.25, 1: 0.5, 2: 0.75}
    (cell,) = results.cells(rows("0", 0.25))
    assert (cell.mean, cell.deviation) == (0.25, None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.5, "failed", "diverged"), "diverged"),
        ((0.5, math.inf), "diverged"),
        ((0.5, "pruned"), "pruned"),
        (("failed", "pruned"), "failed"),
    ],
)
def test_cell_that_is_not_complete_has_a_status_and_no_mean(values, expected):
    (cell,) = results.cells(rows("0", *values))
    assert (cell.status, cell.mean, cell.deviation) == (expected, None, None)
