"""A trials.csv is read back as it was written, or refused."""

import csv
import math

import pytest

from tfwd.tuning.output import trials

ROWS = [
    {
        "learning_rate": 0.1 + 0.2,
        "optimizer": "adams",
        "seed": 0,
        "objective": 4.52,
        "status": "completed",
        "reason": None,
    },
    {
        "learning_rate": 1e-300,
        "optimizer": "adamw",
        "seed": 1,
        "objective": math.inf,
        "status": "diverged",
        "reason": "loss, not finite",
    },
]


def test_values_come_back_with_all_their_digits_and_types(tmp_path):
    path = tmp_path / "trials.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)
    rows = trials.read(path)
    assert rows == ROWS
    types = [[type(value) for value in row.values()] for row in ROWS]
    assert [[type(value) for value in row.values()] for row in rows] == types


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "with 0 rows of no columns"),
        ("seed,objective,status\n", "with 0 rows of seed,objective,status"),
        ("seed,objective\n0,1\n", "with 1 rows of seed,objective"),
        ("seed,objective,status\n0,1,completed\n0,1\n", "with 2 in row 2"),
    ],
)
def test_file_that_is_none_of_trials_is_refused_in_one_line(
    text, message, tmp_path
):
    path = tmp_path / "trials.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"`path` must .*{message}") as error:
        trials.read(path)
    assert "\n" not in str(error.value)
