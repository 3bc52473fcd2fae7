"""Rows of measurements: the columns, the text for people, diagnostics.csv.

A row is a dict with the columns as keys; what was not measured is None. There
is one row per weight layer and, with the layer `MODEL`, one for the model.
"""

import collections.abc
import csv
import pathlib
import textwrap
import warnings

from tfwd import csv_lines
from tfwd import durable
from tfwd import text_table

MODEL = "(model)"
_OF_LAYERS = (
    "scale_invariant",
    "scale_invariant_with_bias",
    "weights",
    "weight_norm",
    "effective_learning_rate",
    "effective_damping",
    "damping_ratio",
    "gauss_newton_trace",
    "fisher_trace",
    "kfac_gauss_newton_norm",
)
_OF_MODEL = (
    "jacobian",
    "jacobian_error",
    "gauss_newton_norm",
    "gauss_newton_norm_error",
    "fisher_rao_norm",
    "fisher_rao_norm_error",
    "label_fisher_rao_norm",
    "label_fisher_rao_norm_error",
    "intrinsic_learning_rate",
    "expected_steps",
    "seconds",
)
COLUMNS = ("epoch", "step", "layer", *_OF_LAYERS, *_OF_MODEL)
_ANSWERS = ("scale_invariant", "scale_invariant_with_bias")
NUMBERS = (
    *(name for name in _OF_LAYERS if name not in _ANSWERS),
    *_OF_MODEL,
)
# Files without the later column are still read, with None in its place.
_OLDER = tuple(n for n in COLUMNS if n != "scale_invariant_with_bias")
_WHOLE = ("epoch", "step", "weights")


def row(layer: str, **values: float | str | bool | None) -> dict:
    """Returns the row of a layer, None in the columns without a value."""
    return dict.fromkeys(COLUMNS) | {"layer": layer} | values


def as_text(rows: collections.abc.Sequence[dict]) -> str:
    """Returns the rows of one measurement as an aligned table.

    The layers come first, a line each and the sums below them, then what is of
    the model alone, a line per quantity with its standard error.

    Args:
        rows: What `Mechanisms.measure` returned.
    """
    columns = [
        name
        for name in _OF_LAYERS
        if any(each[name] is not None for each in rows)
    ]
    cells = [
        [each["layer"], *(_cell(each[name]) for name in columns)]
        for each in rows
    ]
    heads = [_head(name) for name in ("layer", *columns)]
    height = max(map(len, heads))
    heads = [[""] * (height - len(head)) + head for head in heads]
    lines = text_table.lines(
        [*zip(*heads, strict=True), *cells], align_right=True
    )
    own = [
        (name.replace("_", " "), _with_error(each, name))
        for each in rows
        if each["layer"] == MODEL
        for name in _OF_MODEL
        if each[name] is not None and not name.endswith("_error")
    ]
    if own:
        lines += ["", *text_table.lines(own, align_right=True)]
    return "\n".join(lines)


def cost(seconds: float, total: float) -> str:
    """Returns the line that tells what measurements took of a training.

    Args:
        seconds: Those of all measurements.
        total: Those of the training, the measurements among them.
    """
    return (
        f"Diagnostics took {seconds:.1f} s of {total:.1f} s "
        f"({100 * seconds / total:.1f} %)"
    )


def as_csv(rows: collections.abc.Sequence[dict]) -> str:
    """Returns rows as lines of CSV without the names of the columns.

    Floats have all their digits, so that equal measurements give equal bytes.

    Raises:
        ValueError: If a row has a column that there is not.
    """
    return csv_lines.text(COLUMNS, rows)


def read(path: str | pathlib.Path) -> list[dict]:
    """Returns the rows of a diagnostics.csv.

    A file without the column `scale_invariant_with_bias` is read as one where
    that was not measured.

    Raises:
        ValueError: If the file has other columns.
    """
    with pathlib.Path(path).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        names = tuple(reader.fieldnames or ())
        if names not in (COLUMNS, _OLDER):
            raise ValueError(
                "`path` must be a file of diagnostics with the columns "
                f"{','.join(COLUMNS)}. Received: path={path}, with "
                f"{','.join(names)}"
            )
        return [_row_of(values) for values in reader]


class File:
    """A diagnostics.csv that grows by a measurement at a time.

    It is created in one piece, and a measurement is on disk at once. Of a file
    that is gone on with, lines that are torn or no rows are left out; it is
    set aside then, as one with other columns is, and a warning says so.

    Args:
        path: The file.
        last_epoch: None for a new file; else the rows up to this epoch, if the
            file is there, are kept and later ones dropped.

    Attributes:
        rows: The rows that it holds.
    """

    def __init__(self, path: str | pathlib.Path, last_epoch: int | None = None):
        self._path = pathlib.Path(path)
        self.rows = []
        if last_epoch is not None and self._path.exists():
            rows, is_whole = _salvaged(self._path)
            self.rows = [row for row in rows if row["epoch"] <= last_epoch]
            if not is_whole:
                aside = durable.set_aside(self._path)
                warnings.warn(
                    f"{self._path} was damaged or of other columns: "
                    f"{len(self.rows)} rows are kept, and as it was it is "
                    f"{aside}",
                    stacklevel=2,
                )
        text = csv_lines.header(COLUMNS) + as_csv(self.rows)
        durable.write_text(self._path, text)

    def append(self, rows: collections.abc.Sequence[dict]) -> None:
        """Adds the rows of one measurement."""
        with self._path.open("a", encoding="utf-8", newline="") as file:
            durable.append(file, as_csv(rows))
        self.rows += rows


def _salvaged(path):
    """Returns the rows that are whole, and whether all lines were rows."""
    header, rows, is_whole = csv_lines.salvaged(path, _is_row)
    if header not in (COLUMNS, _OLDER):
        return [], False
    return [_row_of(values) for values in rows], is_whole


def _is_row(values):
    try:
        _row_of(values)
    except ValueError:
        return False
    return True


def _row_of(values):
    return {name: _value(name, values.get(name)) for name in COLUMNS}


def _value(name, text):
    if not text:
        return None
    if name == "layer":
        return text
    if name in _ANSWERS:
        return text == "True"
    return int(text) if name in _WHOLE else float(text)


def _head(name):
    return textwrap.wrap(name.replace("_", " "), 13)


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _with_error(row, name):
    error = row.get(f"{name}_error")
    return _cell(row[name]) + ("" if error is None else f" ± {error:.2g}")
