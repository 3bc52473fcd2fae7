"""What diagnostics.csv holds, and what people read of it."""

import math

import pytest

from tfwd.diagnostics import table


def measurement(epoch):
    return [
        table.row(
            "first",
            epoch=epoch,
            step=10 * epoch,
            scale_invariant=True,
            weights=12,
            weight_norm=1 / 3,
        ),
        table.row("last", epoch=epoch, step=10 * epoch, scale_invariant=False),
        table.row(
            table.MODEL,
            epoch=epoch,
            step=10 * epoch,
            weight_norm=0.1 + 0.2,
            jacobian=2.5,
            jacobian_error=1e-300,
            expected_steps=math.inf,
        ),
    ]


def test_file_gives_back_every_value_with_all_its_digits(tmp_path):
    file = table.File(tmp_path / "diagnostics.csv")
    for epoch in range(3):
        file.append(measurement(epoch))
    rows = [row for epoch in range(3) for row in measurement(epoch)]
    assert file.rows == rows
    assert table.read(tmp_path / "diagnostics.csv") == rows


def test_file_gone_on_with_keeps_the_epochs_that_stand(tmp_path):
    path = tmp_path / "diagnostics.csv"
    file = table.File(path)
    for epoch in range(4):
        file.append(measurement(epoch))
    again = table.File(path, last_epoch=1)
    assert {row["epoch"] for row in again.rows} == {0, 1}
    for epoch in range(2, 4):
        again.append(measurement(epoch))
    assert table.read(path) == file.rows


def test_new_file_drops_what_was_there(tmp_path):
    path = tmp_path / "diagnostics.csv"
    table.File(path).append(measurement(0))
    assert table.File(path).rows == table.read(path) == []


def damage_torn(path):
    path.write_bytes(path.read_bytes()[:-4])


def damage_blank(path):
    path.write_bytes(path.read_bytes() + b"\xff\x00\n")


def damage_short(path):
    lines = path.read_text().splitlines(keepends=True)
    lines[2] = lines[2][:9] + "\n"
    path.write_text("".join(lines))


@pytest.mark.parametrize("damage", [damage_torn, damage_blank, damage_short])
def test_whole_rows_of_a_damaged_file_are_kept_and_the_file_is_too(
    damage, tmp_path
):
    path = tmp_path / "diagnostics.csv"
    table.File(path).append([*measurement(0), *measurement(1)])
    expected = table.read(path)
    damage(path)
    damaged = path.read_bytes()
    with pytest.warns(UserWarning, match="rows are kept, and as it was it is"):
        again = table.File(path, last_epoch=5)
    assert again.rows == table.read(path)
    assert len(expected) - 1 <= len(again.rows) <= len(expected)
    assert all(row in expected for row in again.rows)
    aside = tmp_path / "diagnostics.damaged-1.csv"
    assert aside.read_bytes() == damaged


@pytest.mark.parametrize("text", ["", "epoch,st", "epoch,loss\n1,2\n"])
def test_file_of_other_columns_is_set_aside(text, tmp_path):
    path = tmp_path / "diagnostics.csv"
    path.write_text(text)
    with pytest.warns(UserWarning, match="of other columns: 0 rows are kept"):
        assert table.File(path, last_epoch=5).rows == []
    assert table.read(path) == []
    assert (tmp_path / "diagnostics.damaged-1.csv").read_text() == text


def test_row_of_an_unknown_column_is_refused():
    with pytest.raises(ValueError, match="temperature"):
        table.as_csv([table.row("first", temperature=1.0)])


def test_text_is_aligned_and_shows_what_was_measured_alone():
    text = table.as_text(
        [
            table.row(
                "first", scale_invariant=True, weights=9, weight_norm=0.5
            ),
            table.row(
                "b", scale_invariant=False, weights=1234, weight_norm=2.0
            ),
            table.row(
                table.MODEL,
                weight_norm=12.0,
                jacobian=2.5,
                jacobian_error=0.125,
            ),
        ]
    )
    assert text.splitlines() == [
        "             scale",
        "layer    invariant  weights  weight norm",
        "first          yes        9          0.5",
        "b               no     1234            2",
        "(model)                               12",
        "",
        "jacobian  2.5 ± 0.12",
    ]


def test_cost_is_a_share_of_the_whole():
    assert table.cost(1.2, 60.0) == "Diagnostics took 1.2 s of 60.0 s (2.0 %)"


def test_older_file_without_the_column_of_the_bias_is_read_and_gone_on_with(
    tmp_path,
):
    path = tmp_path / "diagnostics.csv"
    older = [c for c in table.COLUMNS if c != "scale_invariant_with_bias"]
    values = {"epoch": "0", "step": "5", "layer": "first"}
    values |= {"scale_invariant": "True", "weights": "12"}
    text = ",".join(values.get(name, "") for name in older)
    path.write_text(",".join(older) + "\n" + text + "\n")
    first = table.row(
        "first", epoch=0, step=5, scale_invariant=True, weights=12
    )
    assert table.read(path) == [first]
    new = table.row("first", epoch=1, scale_invariant_with_bias=False)
    table.File(path, last_epoch=0).append([new])
    assert table.read(path) == [first, new]
    header = path.read_text().splitlines()[0]
    assert header == ",".join(table.COLUMNS)


def test_answers_are_no_numbers():
    assert not {n for n in table.NUMBERS if n.startswith("scale_invariant")}
