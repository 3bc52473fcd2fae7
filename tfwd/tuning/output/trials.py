"""The results of a search: a row per trial, as trials.csv holds them.

A row is a dict. Besides `seed`, `objective` and `status` it has a key for each
searched flag, such as `learning_rate`, and whatever else was written. Values
are numbers where their text is one, booleans where it is true or false, None
where there is none; the id of a trial and a reason are always texts.
"""

import csv
import os
import pathlib

COLUMNS = ("seed", "objective", "status")
_TEXTS = ("trial", "status", "reason")
_BOOLEANS = {"true": True, "false": False}


def read(path: str | os.PathLike) -> list[dict]:
    """Returns the rows of a trials.csv.

    Args:
        path: The file: comma-separated, the names of the columns first.

    Raises:
        ValueError: If the file has no rows, lacks one of `COLUMNS`, or has a
            row with more or fewer values than columns.
    """
    with pathlib.Path(path).open(encoding="utf-8", newline="") as file:
        header, *lines = [line for line in csv.reader(file) if line] or [[]]
    if not lines or not set(COLUMNS) <= set(header):
        raise ValueError(
            f"`path` must be a file of trials with the columns "
            f"{','.join(COLUMNS)} and a row per trial. Received: path={path}, "
            f"with {len(lines)} rows of {','.join(header) or 'no columns'}"
        )
    for number, line in enumerate(lines, start=1):
        if len(line) != len(header):
            raise ValueError(
                f"`path` must have {len(header)} values in each row. "
                f"Received: path={path}, with {len(line)} in row {number}"
            )
    return [
        {
            name: (text or None) if name in _TEXTS else value(text)
            for name, text in zip(header, line, strict=True)
        }
        for line in lines
    ]


def value(text):
    """Returns what a text of the file stands for."""
    if not text:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    for form in (int, float):
        try:
            return form(text)
        except ValueError:
            continue
    return text
