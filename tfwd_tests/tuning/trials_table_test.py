"""trials.csv is written whole and read back to the same values.

Covers `trials_table`.
"""

import math
import time

import numpy as np
import pytest

from tfwd.tuning.engine import outcome
from tfwd.tuning.output import trials
from tfwd.tuning.output import trials_table

NAMES = ("learning_rate", "optimizer", "nesterov", "decay_epochs", "epochs")
VALUES = {
    "learning_rate": 0.1 + 0.2,
    "optimizer": "adams",
    "nesterov": True,
    "decay_epochs": (80, 160),
    "epochs": 30,
}
COMPLETED = outcome.Outcome("completed", 1 / 3, 30, 28, 12.5)
DIVERGED = outcome.Outcome(
    "diverged", None, 3, None, 1.0, 'loss, "not" finite in step 7, ½'
)
FAILED = outcome.Outcome("failed", None, 0, None, 0.25, "12")
RESULTS = [
    ("99", VALUES | {"nesterov": False, "epochs": 7}, [(0, COMPLETED)]),
    ("02", VALUES, [(10, COMPLETED), (9, DIVERGED)]),
    ("100", {"learning_rate": 1e-300}, [(0, FAILED)]),
]


def written(path, names=NAMES, results=RESULTS):
    rows = trials_table.rows_of(names, results)
    trials_table.write(path, names, rows)
    return rows


def test_rows_are_read_back_to_the_same_values_and_types(tmp_path):
    rows = written(tmp_path / "trials.csv")
    found = trials.read(tmp_path / "trials.csv")
    assert found == rows
    for one, other in zip(found, rows, strict=True):
        assert list(map(type, one.values())) == list(map(type, other.values()))


def test_text_of_the_file(tmp_path):
    written(tmp_path / "trials.csv")
    assert (tmp_path / "trials.csv").read_text().splitlines() == [
        "trial,seed,learning_rate,optimizer,nesterov,decay_epochs,epochs,"
        "objective,status,last_epoch,best_epoch,seconds,reason",
        '02,9,0.30000000000000004,adams,true,"80,160",30,,diverged,3,,1.0,'
        '"loss, ""not"" finite in step 7, ½"',
        '02,10,0.30000000000000004,adams,true,"80,160",30,'
        "0.3333333333333333,completed,30,28,12.5,",
        '99,0,0.30000000000000004,adams,false,"80,160",7,'
        "0.3333333333333333,completed,30,28,12.5,",
        "100,0,1e-300,,,,,,failed,0,,0.25,12",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.1), 0.10000000149011612),
        (np.int64(3), 3),
        (math.inf, math.inf),
        (2.0, 2.0),
        ((), None),
        ((80,), 80),
        ([0.1, 0.5], "0.1,0.5"),
        (None, None),
    ],
)
def test_value_of_any_kind_is_read_back_as_its_row_has_it(
    value, expected, tmp_path
):
    results = [("0", {"x": value}, [(0, COMPLETED)])]
    (row,) = written(tmp_path / "trials.csv", ("x",), results)
    (found,) = trials.read(tmp_path / "trials.csv")
    assert found == row
    assert (found["x"], type(found["x"])) == (expected, type(expected))


def test_searched_name_of_another_column_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`names` must not .*Received: seed$"):
        trials_table.rows_of(("learning_rate", "seed"), [])


def test_ten_thousand_rows_take_less_than_a_fifth_of_a_second(tmp_path):
    results = [
        (f"{trial:04}", VALUES | {"learning_rate": 1 / (trial + 1)}, [(0, run)])
        for trial in range(10_000)
        for run in [COMPLETED]
    ]
    seconds = []
    # Of the processor, and the least, since others use this machine too.
    for _ in range(3):
        start = time.process_time()
        written(tmp_path / "trials.csv", results=results)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2
    assert len(trials.read(tmp_path / "trials.csv")) == 10_000
