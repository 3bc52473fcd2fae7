"""The trials of a search as cells: what all seeds of one say together."""

import dataclasses
import math
import statistics

from tfwd.tuning.engine import outcome
from tfwd.tuning.output import trials_table


@dataclasses.dataclass(frozen=True)
class Cell:
    """A trial.

    Attributes:
        trial: Its id.
        values: {searched or linked name: value}.
        rows: Those of its runs, a row per seed.
        status: "completed" if all of them are, with a finite objective;
            "diverged" if one diverged or its objective is not finite; else the
            first other status.
    """

    trial: str
    values: dict
    rows: tuple
    status: str

    @property
    def objectives(self):
        """{seed: objective} of the completed runs."""
        return {
            row["seed"]: row["objective"]
            for row in self.rows
            if row["status"] == outcome.COMPLETED
        }

    @property
    def mean(self):
        """Of the objectives of its seeds, None unless completed."""
        if self.status != outcome.COMPLETED:
            return None
        return statistics.fmean(self.objectives.values())

    @property
    def deviation(self):
        """Their standard deviation (of n − 1), None without two seeds."""
        if self.status != outcome.COMPLETED or len(self.rows) < 2:
            return None
        return statistics.stdev(self.objectives.values())


def cells(rows):
    """Returns the `Cell` of every trial, in the order of the rows.

    Args:
        rows: Those of trials.csv.
    """
    found = {}
    for row in rows:
        found.setdefault(row["trial"], []).append(row)
    return [_cell(trial, tuple(of)) for trial, of in found.items()]


def status_of(row):
    """Returns the status of a run, "diverged" if its objective is not finite.

    Args:
        row: Of trials.csv.
    """
    is_finite = row["objective"] is not None and math.isfinite(row["objective"])
    if row["status"] == outcome.COMPLETED and not is_finite:
        return outcome.DIVERGED
    return row["status"]


def best(rows, objective, seeds=None):
    """Returns the best `Cell`, None if there is none.

    Only cells of which every seed completed are looked at. Of those with the
    same mean over their seeds the earliest is the best.

    Args:
        rows: Those of trials.csv.
        objective: An `objective.Objective`.
        seeds: How many a cell must have; by default as many as it has. A trial
            that is going on has fewer.
    """
    done = [
        cell
        for cell in cells(rows)
        if cell.status == outcome.COMPLETED
        and (seeds is None or len(cell.rows) == seeds)
    ]
    return min(done, key=lambda cell: objective.cost(cell.mean), default=None)


def _cell(trial, rows):
    others = trials_table.BEFORE + trials_table.AFTER
    values = {name: of for name, of in rows[0].items() if name not in others}
    return Cell(trial, values, rows, _status(rows))


def _status(rows):
    found = [status_of(row) for row in rows]
    if outcome.DIVERGED in found:
        return outcome.DIVERGED
    others = [status for status in found if status != outcome.COMPLETED]
    return others[0] if others else outcome.COMPLETED
