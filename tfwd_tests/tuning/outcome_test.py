"""An outcome is read back as it was written."""

import json
import math

import pytest

from tfwd.tuning import outcome

COMPLETED = outcome.Outcome("completed", 0.1 + 0.2, 30, 28, 12.5)
DIVERGED = outcome.Outcome("diverged", None, 3, None, 1.0, "loss is NaN, ½")


@pytest.mark.parametrize("each", [COMPLETED, DIVERGED])
def test_outcome_comes_back_from_its_text(each):
    assert outcome.from_json(each.to_json()) == each


def test_objective_that_is_not_finite_comes_back():
    each = outcome.Outcome("completed", math.inf, 1, 1, 1.0)
    assert outcome.from_json(each.to_json()) == each


def test_text_has_the_names_of_the_attributes():
    assert list(json.loads(COMPLETED.to_json())) == [
        *("status", "objective", "last_epoch", "best_epoch"),
        *("seconds", "reason"),
    ]
