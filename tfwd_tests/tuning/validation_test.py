"""A search is held out from what it selects on."""

import pytest

from tfwd.tuning.runs import validation
from tfwd_tests.tuning import command_lines


@pytest.mark.parametrize(
    ("dataset", "count"), [("cifar10", 5000), ("digits", 300), ("ptb", 0)]
)
@pytest.mark.parametrize("objective", [None, "validation_loss"])
def test_examples_are_held_out_for_an_objective_of_them(
    dataset, count, objective
):
    flags = command_lines.flags(dataset=dataset)
    found = validation.held_out(flags, objective)
    assert found.values == flags.values | {"num_validation": count}
    assert found.given == flags.given


def test_the_number_that_was_given_stays():
    flags = command_lines.flags(dataset="cifar10", num_validation=100)
    assert validation.held_out(flags, None) is flags


@pytest.mark.parametrize("objective", ["test_accuracy", "train_loss"])
def test_another_objective_holds_nothing_out(objective):
    flags = command_lines.flags(dataset="cifar10")
    assert validation.held_out(flags, objective) is flags
