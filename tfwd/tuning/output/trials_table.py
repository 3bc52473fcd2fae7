"""The table of a search: trials.csv, a row per run."""

import csv
import io
import numbers
import operator

from tfwd import durable
from tfwd.tuning.output import trials

BEFORE = ("trial", "seed")
AFTER = (
    *("objective", "status", "last_epoch", "best_epoch"),
    *("seconds", "reason"),
)
_OF_RUN = operator.attrgetter(*AFTER)
_PLAIN = (float, int, bool, type(None))


def columns(names):
    """Returns the columns of trials.csv, for these searched and linked names.

    Raises:
        ValueError: A name is that of another column.
    """
    taken = sorted({*BEFORE, *AFTER}.intersection(names))
    if taken:
        raise ValueError(
            f"`names` must not be those of other columns of trials.csv, "
            f"{','.join((*BEFORE, *AFTER))}. Received: {','.join(taken)}"
        )
    return (*BEFORE, *names, *AFTER)


def rows_of(names, results):
    """Returns the rows of a search, sorted by trial, then seed.

    They are as `trials.read` reads them back: of a tuple the text, of an empty
    text None.

    Args:
        names: The searched and linked names; one that a trial does not have,
            as it depends on another choice, is None there.
        results: Of each trial (its id, {name: value}, [(seed, `Outcome`)]).

    Raises:
        ValueError: As `columns`.
    """
    columns(names)
    rows = []
    # An id is a number with leading zeros, of which there may be too few.
    for trial, values, runs in sorted(
        results, key=lambda each: (len(each[0]), each[0])
    ):
        cell = {name: _plain(values.get(name)) for name in names}
        for seed, outcome in sorted(runs, key=lambda run: run[0]):
            of_run = zip(AFTER, _OF_RUN(outcome), strict=True)
            rows.append(
                {"trial": trial, "seed": seed, **cell}
                | {name: _plain(value) for name, value in of_run}
            )
    return rows


def write(path, names, rows):
    """Writes trials.csv in one piece, floats with all their digits.

    Args:
        path: A `pathlib.Path`.
        names: The searched and linked names.
        rows: Of `rows_of`.

    Raises:
        ValueError: As `columns`.
        durable.WriteError: The file could not be written; it is as it was.
    """
    header = columns(names)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_text(row[name]) for name in header] for row in rows)
    durable.write_text(path, text.getvalue())


def _plain(value):
    """A value as `trials.read` gives it."""
    # Most are, and this is asked of a million.
    if type(value) in _PLAIN:
        return value
    if isinstance(value, (tuple, list)):
        return trials.value(",".join(str(_text(each)) for each in value))
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return value or None


def _text(value):
    """What csv writes as it is read back; it writes floats by repr itself."""
    return str(value).lower() if type(value) is bool else value
