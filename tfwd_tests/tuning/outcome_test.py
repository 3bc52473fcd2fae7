"""An outcome is written with all digits and read back, or refused."""

import dataclasses
import json
import math

import pytest

from tfwd.tuning.engine import outcome

COMPLETED = outcome.Outcome("completed", 0.1 + 0.2, 3, 2, 1.5)
ENDS = [
    COMPLETED,
    outcome.Outcome("completed", 1e-300, 3, None, 0.1),
    outcome.Outcome("completed", 4, 3, 3, 2),
    outcome.Outcome("diverged", None, 0, None, 0.0, "loss, not finite"),
    outcome.Outcome("failed", None, 0, None, 3.0, "OSError: no, 'x'"),
    outcome.Outcome("pruned", 0.7, 1, 1, 3.0, "worse than the median"),
    outcome.Outcome("pruned", None, 0, None, 3.0, "worse"),
]


@pytest.mark.parametrize("one", ENDS)
def test_outcome_comes_back_as_it_was(one):
    text = one.to_json()
    assert outcome.from_json(text) == one
    assert text.count("\n") == 1 and text.endswith("\n")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"status": "done"}, "status"),
        ({"status": None}, "status"),
        ({"objective": None}, "objective"),
        ({"objective": math.nan}, "objective"),
        ({"objective": math.inf}, "objective"),
        ({"objective": "0.1"}, "objective"),
        ({"objective": True}, "objective"),
        ({"status": "diverged", "reason": "x"}, "objective"),
        ({"status": "pruned", "objective": math.nan}, "objective"),
        ({"last_epoch": -1}, "last_epoch"),
        ({"last_epoch": 1.0}, "last_epoch"),
        ({"best_epoch": -1}, "best_epoch"),
        ({"seconds": math.nan}, "seconds"),
        ({"seconds": -1.0}, "seconds"),
        ({"reason": "why"}, "reason"),
        ({"status": "pruned"}, "reason"),
        ({"status": "pruned", "reason": "a\nb"}, "reason"),
    ],
)
def test_impossible_outcome_is_refused_in_one_line(changes, name):
    with pytest.raises(ValueError, match=f"^`{name}` .*{name}=") as error:
        dataclasses.replace(COMPLETED, **changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        json.dumps({"status": "completed"}),
        COMPLETED.to_json().replace("}", ', "more": 1}'),
        COMPLETED.to_json().replace("0.30000000000000004", "NaN"),
    ],
)
def test_text_of_no_outcome_is_refused(text, tmp_path):
    with pytest.raises(ValueError):
        outcome.from_json(text)
    outcome.path_of(tmp_path, 0).write_text(text)
    with pytest.raises(ValueError, match="seed_0.json holds no outcome"):
        outcome.read(tmp_path, 0)


def test_exception_becomes_a_reason_in_one_line():
    found = outcome.failed(RuntimeError("a\n  b"), 2.0)
    assert (found.status, found.reason) == ("failed", "RuntimeError: a b")
    assert outcome.failed(KeyError()).reason == "KeyError"


def test_run_that_has_not_ended_has_none(tmp_path):
    assert outcome.read(tmp_path, 0) is None
    outcome.path_of(tmp_path, 0).write_text(COMPLETED.to_json())
    assert outcome.read(tmp_path, 0) == COMPLETED
