"""Lines of a CSV file that grows, whose writer may be killed at any moment."""

import csv
import io


def text(columns, rows):
    """Returns rows, {column: value}, as lines in the order of the columns.

    Floats have all their digits, so that equal rows give equal bytes; what is
    None or missing is left empty.

    Raises:
        ValueError: If a row has a column that there is not.
    """
    lines = io.StringIO()
    csv.DictWriter(lines, columns, lineterminator="\n").writerows(rows)
    return lines.getvalue()


def header(columns):
    """Returns the line of their names."""
    return text(columns, [dict(zip(columns, columns, strict=True))])


def salvaged(path, is_row):
    """Reads what is whole of a file.

    Args:
        path: The file.
        is_row: Whether {column: text} of a line that has all columns is a row.

    Returns:
        The names of its columns, its rows, and whether there is nothing else.
    """
    found = path.read_bytes().decode("utf-8", errors="replace")
    # What has no line end is torn.
    *lines, rest = found.split("\n")
    columns, *lines = [next(csv.reader([line]), []) for line in lines] or [[]]
    rows = [
        dict(zip(columns, line, strict=True))
        for line in lines
        if len(line) == len(columns)
    ]
    rows = [row for row in rows if is_row(row)]
    return tuple(columns), rows, not rest and len(rows) == len(lines)
