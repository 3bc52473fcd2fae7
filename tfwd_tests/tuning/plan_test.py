"""A search that was checked."""

import pytest

from tfwd.training.config import usage
from tfwd.tuning import objective
from tfwd_tests.tuning import plans

RATE = "--search=learning_rate=log:1e-3:1e-1"
GRID = f"{RATE}:3"


def test_a_grid_has_its_cells_and_the_first_is_the_example():
    plan = plans.make(GRID, "--link=weight_decay=1e-6 / learning_rate")
    assert [cell["learning_rate"] for cell in plan.cells] == [1e-3, 1e-2, 1e-1]
    assert plan.example == plan.settings(plan.cells[0])
    assert plan.names == ("learning_rate", "weight_decay")
    columns = plan.columns(plan.cells[2])
    assert columns == {"learning_rate": 0.1, "weight_decay": 1e-6 / 0.1}


def test_drawn_trials_have_no_cells():
    plan = plans.make(RATE, "--tuner=random")
    assert plan.cells is None
    assert plan.example.optimizer.learning_rate == 1e-3


def test_seeds_follow_the_first():
    plan = plans.make(GRID, "--seed=7", "--trials_per_cell=3")
    assert list(plan.seeds) == [7, 8, 9]


@pytest.mark.parametrize(
    ("flags", "splits"),
    [
        ((), ("validation",)),
        (("--objective=train_loss",), ("validation",)),
        (("--objective=test_loss",), ("validation", "test")),
        (("--objective=train_loss", "--num_validation=0"), ("test",)),
    ],
)
def test_the_test_data_are_left_alone_unless_named(flags, splits):
    plan = plans.make(GRID, *flags)
    source = plan.sources.of(plan.example)
    assert plan.evaluated(source) == splits


def test_examples_are_held_out_before_the_objective_is_checked():
    plan = plans.make(GRID, "--num_validation=0")
    assert plan.example.data.num_validation == 300
    assert plan.objective == objective.Objective("validation_accuracy", True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--trials_per_cell=2", f"--seed={2**32 - 1}"), "trials_per_cell"),
        (("--objective=nothing",), "objective"),
        (("--num_validation=2000",), "num_validation"),
        (("--mode=eval",), "mode"),
    ],
)
def test_what_cannot_be_searched_is_refused(flags, words):
    with usage.refusals(), pytest.raises(ValueError, match=words):
        plans.make(GRID, *flags)
