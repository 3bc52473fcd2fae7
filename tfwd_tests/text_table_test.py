"""The columns of a table of text."""

from tfwd import text_table

ROWS = [("layer", "bytes"), ("conv", "1,024"), ("a longer one", "8")]


def test_columns_begin_at_one_place():
    assert text_table.lines(ROWS) == [
        "layer         bytes",
        "conv          1,024",
        "a longer one  8",
    ]


def test_columns_but_the_first_end_at_one_place():
    assert text_table.lines(ROWS, align_right=True) == [
        "layer         bytes",
        "conv          1,024",
        "a longer one      8",
    ]


def test_empty_cells_leave_no_space_at_the_end():
    assert text_table.lines([("a", ""), ("b", "c")]) == ["a", "b  c"]
