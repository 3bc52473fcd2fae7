"""What a search makes best, and which epoch has it."""

import math
import os
import subprocess
import sys

import pytest

from tfwd.training.config import choices
from tfwd.training.config import columns
from tfwd.training.config import settings as settings_lib
from tfwd.training.loop import top_5
from tfwd.tuning import objective

TEXT = {"dataset": "ptb", "model": "lstm"}
UP = objective.Objective("validation_accuracy", True)
DOWN = objective.Objective("validation_loss", False)


def settings(**values):
    return settings_lib.Settings(**{"num_validation": 100} | values)


def rows(*values, name="validation_accuracy"):
    return [
        {"epoch": float(epoch), name: value}
        for epoch, value in enumerate(values, start=1)
    ]


def test_default_is_accuracy_of_images_and_perplexity_of_text():
    assert objective.of(settings()) == UP
    text = settings_lib.Settings(**TEXT)
    found = objective.of(text)
    assert found == objective.Objective("validation_perplexity", False)


@pytest.mark.parametrize(
    ("name", "maximize"),
    [
        *[("validation_accuracy", True), ("test_accuracy", True)],
        *[("train_accuracy", True), ("test_top_5_accuracy", True)],
        *[("examples_per_second", True), ("validation_loss", False)],
        *[("train_loss", False), ("test_loss", False)],
    ],
)
def test_accuracies_and_speed_are_maximized_losses_minimized(name, maximize):
    found = objective.of(settings(dataset="cifar100"), name)
    assert found == objective.Objective(name, maximize)


def test_every_other_column_is_refused_and_every_measure_allowed():
    refused = []
    for name in columns.of_epochs("language_model"):
        try:
            objective.of(settings_lib.Settings(**TEXT), name)
        except ValueError as error:
            assert str(error).startswith("`--objective` must be one of train_")
            assert str(error).endswith(f"Received: --objective={name}")
            refused.append(name)
    assert refused == [
        *("step", "epoch", "elapsed_seconds", "learning_rate"),
        *("effective_weight_decay", "penalty", "weight_norm"),
    ]


@pytest.mark.parametrize(
    "name", ["accuracy", "val_accuracy", "test_top_5_accuracy", ""]
)
def test_what_is_no_column_of_these_settings_is_refused_in_one_line(name):
    with pytest.raises(ValueError, match="`--objective` must be one") as error:
        objective.of(settings(), name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [None, "validation_accuracy"])
def test_objective_of_validation_needs_validation_examples(name):
    with pytest.raises(
        ValueError, match="--objective=test_accuracy.*=0$"
    ) as error:
        objective.of(settings(num_validation=0), name)
    assert str(error.value).startswith("`--num_validation` must be above 0")
    objective.of(settings(num_validation=0), "test_accuracy")


@pytest.mark.parametrize("dataset", choices.DATASETS)
def test_top_5_is_allowed_where_the_classes_are_many(dataset):
    classes = {"cifar100": 100, "imagenet2012": 1000, "ptb": 10_000}
    values = TEXT if dataset == "ptb" else {"dataset": dataset}
    of_text = settings_lib.Settings(**values)
    found = "test_top_5_accuracy" in objective.names(of_text)
    task = choices.task(of_text.model.model)
    assert found == top_5.applies(task, classes.get(dataset, 10))


def test_value_is_of_the_final_epoch_or_of_the_first_best_one():
    found = rows(0.5, 0.75, 0.75, 0.25)
    assert objective.value(found, UP, "final") == (0.25, 4)
    assert objective.value(found, UP, "best") == (0.75, 2)
    found = rows(0.5, 0.75, 0.25, 0.25, name=DOWN.name)
    assert objective.value(found, DOWN, "best") == (0.25, 3)


@pytest.mark.parametrize("goal", [UP, DOWN])
def test_epoch_that_is_not_a_number_is_never_the_best(goal):
    for values in ((math.nan, 0.5), (0.5, math.nan)):
        found = rows(*values, name=goal.name)
        assert objective.value(found, goal, "best")[0] == 0.5


@pytest.mark.parametrize("select_on", objective.SELECT_ON)
@pytest.mark.parametrize("found", [[], rows(None), rows(0.5, name="other")])
def test_run_without_the_column_has_no_value(found, select_on):
    with pytest.raises(ValueError, match="must have the column validation_acc"):
        objective.value(found, UP, select_on)


def test_only_test_data_has_a_remark():
    assert objective.remark(UP) == ""
    text = objective.remark(objective.Objective("test_accuracy", True))
    assert "optimistic" in text and "test error" in text
    assert "\n" not in text


def test_objective_does_not_bring_what_takes_seconds_to_import():
    program = (
        "import sys, tfwd.tuning\n"
        "before = set(sys.modules)\n"
        "from tfwd.tuning import objective\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    ).stdout.split()
    assert {name.partition(".")[0] for name in found} <= {"tfwd"}
    assert "tfwd.training.runs.logs" not in found
