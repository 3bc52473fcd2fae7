"""What is whole of a CSV file is read, whatever tore the rest."""

import pytest

from tfwd import csv_lines

COLUMNS = ("step", "loss")
ROWS = [{"step": 1, "loss": 0.1}, {"step": 2, "loss": None}]
WHOLE = b"step,loss\n1,0.1\n2,\n"


def test_rows_are_lines_with_all_digits():
    found = csv_lines.header(COLUMNS) + csv_lines.text(COLUMNS, ROWS)
    assert found.encode() == WHOLE
    assert csv_lines.text(COLUMNS, [{"loss": 1 / 3}]) == f",{1 / 3!r}\n"


def test_unknown_column_is_refused():
    with pytest.raises(ValueError, match="los"):
        csv_lines.text(COLUMNS, [{"los": 1}])


@pytest.mark.parametrize(
    ("damage", "steps", "is_whole"),
    [
        (b"", ["1", "2"], True),
        (b"3,0", ["1", "2"], False),
        (b"3\n4,0.2\n", ["1", "2", "4"], False),
        (b"\xff\xfe,0.1\n3,0.2\n", ["1", "2", "3"], False),
    ],
    ids=["none", "torn", "short", "bytes"],
)
def test_whole_lines_are_rows(tmp_path, damage, steps, is_whole):
    path = tmp_path / "a.csv"
    path.write_bytes(WHOLE + damage)
    columns, rows, nothing_else = csv_lines.salvaged(
        path, lambda row: row["step"].isdecimal()
    )
    assert columns == COLUMNS and nothing_else == is_whole
    assert [row["step"] for row in rows] == steps


def test_empty_file_has_no_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"")
    assert csv_lines.salvaged(path, bool) == ((), [], True)
