"""The map of a search: its objective over a grid of two searched values.

Arrays are [x, y]; both axes are logarithmic, their lengths in decades. The
objective is stored so that lower is better. A trial that diverged is
infinitely bad, and with it the mean of its cell, however good its other seeds.
"""

import collections.abc
import dataclasses
import numbers

import numpy as np

from tfwd import arguments
from tfwd.tuning.engine import outcome
from tfwd.tuning.output import trials as trials_lib

_SHOWN_CELLS = 3


@dataclasses.dataclass(frozen=True)
class Grid:
    """The results of every cell; made by `from_trials`.

    Attributes:
        x: Name of the first value, η in the formulas of this room.
        y: Name of the second value, λ.
        x_values: Its values, increasing, float64 [x].
        y_values: Its values, increasing, float64 [y].
        results: Objectives of the seeds, lower is better, float64
            [x, y, seeds]; those that a cell has come first, the rest is 0.
        counts: How many seeds a cell has, integers [x, y].
        maximize: Whether the objective as users know it is -`results`.
    """

    x: str
    y: str
    x_values: np.ndarray
    y_values: np.ndarray
    results: np.ndarray
    counts: np.ndarray
    maximize: bool

    @property
    def log_x(self):
        """The first axis in decades, log10 of its values."""
        return np.log10(self.x_values)

    @property
    def log_y(self):
        """The second axis in decades, log10 of its values."""
        return np.log10(self.y_values)

    def means(self):
        """Returns the mean over the seeds of each cell, lower is better.

        Infinite where a seed diverged, NaN where there is no result.
        """
        sums = self.results.sum(-1)
        return np.where(self.counts, sums / np.maximum(self.counts, 1), np.nan)

    def objective(self, value):
        """Returns the user's objective of a value where lower is better."""
        return -value if self.maximize else value

    def resampled(self, generator):
        """Returns a grid with as many seeds per cell, drawn with replacement.

        Args:
            generator: A `numpy.random.Generator`.
        """
        counts = self.counts[..., None]
        drawn = generator.integers(
            np.maximum(counts, 1), size=self.results.shape
        )
        results = np.take_along_axis(self.results, drawn, -1)
        results[np.arange(results.shape[-1]) >= counts] = 0
        return dataclasses.replace(self, results=results)

    def check_has_no_holes(self):
        """Raises a `ValueError` that names cells, if any has no result."""
        holes = np.argwhere(self.counts == 0)
        if len(holes):
            cells = [
                f"({self.x_values[i]:g}, {self.y_values[j]:g})"
                for i, j in holes[:_SHOWN_CELLS]
            ]
            more = ", …" if len(holes) > _SHOWN_CELLS else ""
            raise ValueError(
                f"`grid` must have a result in every cell ({self.x}, "
                f"{self.y}). Received: none in {len(holes)} of "
                f"{self.counts.size}: {', '.join(cells)}{more}"
            )


def from_trials(
    trials: collections.abc.Iterable[dict],
    x: str,
    y: str,
    *,
    maximize: bool = False,
) -> Grid:
    """Returns the `Grid` of the rows of a trials.csv.

    A completed trial counts with its objective, infinitely bad if that is not
    finite; a diverged one as infinitely bad. Trials of any other status
    (failed, stopped early) say nothing of their cell and are left out. A cell
    without a result is a hole, which only `optimum.best_cell` and
    `optimum.edge_distances` allow. Values that agree in 12 digits are one.

    Args:
        trials: Dicts, as `trials.read` returns them, of which all other
            searched values are the same.
        x: Column of the first axis, such as "learning_rate".
        y: Column of the second axis, such as "weight_decay".
        maximize: Whether a higher objective is better; by default a lower one
            is, as of an error.

    Raises:
        ValueError: If there are no trials, a column is missing, a value on an
            axis or the objective of a completed trial is no number, a value is
            not positive, an axis has one value, a seed is twice in a cell, or
            no trial counts.
    """
    arguments.check_boolean("maximize", maximize)
    if x == y:
        raise ValueError(
            f"`x` and `y` must be two columns. Received: x={x}, y={y}"
        )
    _check_columns(trials, (x, y, *trials_lib.COLUMNS))
    x_axis, y_axis = (_axis(trials, name) for name in (x, y))
    cells = _by_cell(trials, x, y, maximize)
    counts = np.zeros((len(x_axis), len(y_axis)), int)
    results = np.zeros((*counts.shape, max(map(len, cells.values()))))
    for i, x_place in enumerate(x_axis):
        for j, y_place in enumerate(y_axis):
            seeds = cells.get((x_place, y_place), {})
            counts[i, j] = len(seeds)
            results[i, j, : len(seeds)] = list(seeds.values())
    x_values, y_values = (np.array([*a.values()]) for a in (x_axis, y_axis))
    return Grid(x, y, x_values, y_values, results, counts, maximize)


def _check_columns(trials, columns):
    if not trials:
        raise ValueError(
            "`trials` must have a row per trial. Received: no rows"
        )
    for row in trials:
        missing = [column for column in columns if column not in row]
        if missing:
            raise ValueError(
                f"`trials` must have the column {missing[0]}. "
                f"Received: a row of {','.join(row)}"
            )


def _axis(trials, name):
    """Returns {place: value} in increasing order, of equal places the first."""
    values = {}
    for row in trials:
        values.setdefault(_place(row, name), float(row[name]))
    if len(values) < 2:
        raise ValueError(
            f"`trials` must have at least two values of {name}. "
            f"Received: {name}={next(iter(values)):g} alone"
        )
    return dict(sorted(values.items()))


def _place(row, name):
    """Returns a value to 12 digits, in which those of a cell agree."""
    value = arguments.check_interval(
        name, row[name], 0, np.inf, open_low=True, is_measured=True
    )
    return float(f"{value:.12g}")


def _by_cell(trials, x, y, maximize):
    """Returns {(x, y): {seed: result, lower is better}}."""
    cells = {}
    for row in trials:
        if row["status"] in (outcome.COMPLETED, outcome.DIVERGED):
            place = _place(row, x), _place(row, y)
            seeds = cells.setdefault(place, {})
            if row["seed"] in seeds:
                raise ValueError(
                    "`trials` must have a seed once per cell; of other "
                    "searched values keep one. Received: two rows of "
                    f"seed={row['seed']}, {x}={place[0]:g}, {y}={place[1]:g}"
                )
            seeds[row["seed"]] = _result(row, maximize)
    if not cells:
        statuses = sorted({str(row["status"]) for row in trials})
        raise ValueError(
            "`trials` must have one that completed or diverged. "
            f"Received: status={', '.join(statuses)} alone"
        )
    return cells


def _result(row, maximize):
    if row["status"] == outcome.DIVERGED:
        return np.inf
    value = row["objective"]
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(
            "`objective` of a completed trial must be a number. "
            f"Received: objective={arguments.shown(value)}"
        )
    if not np.isfinite(value):
        return np.inf
    return -float(value) if maximize else float(value)
