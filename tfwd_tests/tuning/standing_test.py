"""The line that tells where a search stands."""

import pytest

from tfwd.tuning import objective
from tfwd.tuning.output import results
from tfwd.tuning.output import standing

GOAL = objective.Objective("validation_accuracy", True)
ROW = {
    "trial": "03",
    "seed": 0,
    "learning_rate": 1e-3,
    "weight_decay": 5e-4,
    "damping": None,
    "objective": 0.93214,
    "status": "completed",
}


def line(steps_done=100, steps_in_all=1000, seconds=20.0, **more):
    (best,) = results.cells([ROW])
    return standing.text(
        *(12, 49, steps_done, steps_in_all, seconds),
        **{"best": best, "objective": GOAL} | more,
    )


def test_line_has_the_trial_the_best_and_the_time_of_the_steps_left():
    # 900 steps are left, of 0.2 seconds each.
    assert line() == (
        "trial 12 of 49, best validation_accuracy 0.9321 (learning_rate=0.001, "
        "weight_decay=0.0005), about 3 min left"
    )


def test_time_left_goes_by_steps_and_not_by_trials():
    assert line(steps_done=500).endswith("about 20 s left")
    assert line(seconds=4000.0).endswith("about 10.0 h left")


def test_time_is_a_bound_where_trials_may_end_early():
    assert line(is_bound=True).endswith("), at most 3 min left")


@pytest.mark.parametrize(
    "values",
    [
        {"steps_done": 0, "seconds": 0.0},
        {"steps_done": 1000},
    ],
)
def test_no_time_is_said_before_a_step_nor_at_the_end(values):
    assert line(**values).endswith("weight_decay=0.0005)")


def test_search_without_a_completed_trial_says_so():
    assert line(best=None) == (
        "trial 12 of 49, none completed yet, about 3 min left"
    )
