"""Where the best cell of a map is, and what a default costs beside it."""

import dataclasses
import warnings

import numpy as np

from tfwd import arguments


@dataclasses.dataclass(frozen=True)
class BestCell:
    """The cell with the best mean over its seeds.

    Attributes:
        x: Its value on the first axis.
        y: Its value on the second axis.
        objective: Its mean objective, in the user's direction.
        seeds: How many seeds the mean is of.
        index: Its place in the grid, (row of x, column of y).
    """

    x: float
    y: float
    objective: float
    seeds: int
    index: tuple


@dataclasses.dataclass(frozen=True)
class Distance:
    """How far the best cell is from one side of the grid.

    Attributes:
        cells: In cells; 0 on the side itself.
        decades: In decades, |log10 of the ratio of the two values|.
    """

    cells: int
    decades: float


def best_cell(grid):
    """Returns argmin over the cells of the mean over seeds, a `BestCell`.

    Holes are passed over. Of equal cells the one with the lowest x, then the
    lowest y, is taken.

    Args:
        grid: A `grid.Grid`.

    Raises:
        ValueError: If every trial diverged.
    """
    means = grid.means()
    finite = np.where(np.isfinite(means), means, np.inf)
    i, j = map(int, np.unravel_index(np.argmin(finite), means.shape))
    if not np.isfinite(finite[i, j]):
        raise ValueError(
            "`grid` must have a cell without a diverged trial. Received: none "
            f"of {means.size}"
        )
    return BestCell(
        float(grid.x_values[i]),
        float(grid.y_values[j]),
        float(grid.objective(means[i, j])),
        int(grid.counts[i, j]),
        (i, j),
    )


def edge_distances(grid, *, warn=True):
    """Returns how far the best cell is from each side, a dict of `Distance`.

    The keys are "lowest <x>", "highest <x>", "lowest <y>", "highest <y>".

    Args:
        grid: A `grid.Grid`.
        warn: Whether a warning tells on which sides the best cell lies; beyond
            them a better one may be, of which the grid says nothing.

    Raises:
        ValueError: As `best_cell`.
    """
    best = best_cell(grid)
    distances = {}
    for name, logs, index in zip(
        (grid.x, grid.y), (grid.log_x, grid.log_y), best.index, strict=True
    ):
        last = len(logs) - 1
        for side, edge in (("lowest", 0), ("highest", last)):
            distances[f"{side} {name}"] = Distance(
                abs(index - edge), abs(float(logs[index] - logs[edge]))
            )
    sides = [side for side, to in distances.items() if to.cells == 0]
    if warn and sides:
        warnings.warn(
            f"The best cell, {grid.x}={best.x:g} and {grid.y}={best.y:g}, is "
            f"on the edge of the grid: {' and '.join(sides)}",
            stacklevel=2,
        )
    return distances


def regret(grid, default):
    """Returns what a default λ costs when η is tuned, at least 0.

    R = min_η f(η, λ₀) − min_η,λ f(η, λ), in the unit of the objective, with f
    the mean over seeds, at λ₀ between two columns linear in log λ. A diverged
    neighbour makes it infinite there; R is infinite if it does so at every η.
    The lowest of many noisy means is too low, that at one λ less so: with few
    seeds R is too large.

    Args:
        grid: A `grid.Grid` without holes.
        default: λ₀, a value within the second axis.

    Raises:
        ValueError: If λ₀ is outside of the grid, or the grid has holes or
            nothing but diverged trials.
    """
    low, high = map(float, grid.y_values[[0, -1]])
    default = arguments.check_interval(
        "default", default, low, high, is_measured=True
    )
    grid.check_has_no_holes()
    best = best_cell(grid)
    means = grid.means()
    logs, place = grid.log_y, np.log10(default)
    nearest = int(np.argmin(np.abs(logs - place)))
    if np.isclose(logs[nearest], place, rtol=0, atol=1e-9):
        at_default = means[:, nearest]
    else:
        right = int(np.searchsorted(logs, place))
        share = (place - logs[right - 1]) / (logs[right] - logs[right - 1])
        at_default = (1 - share) * means[:, right - 1] + share * means[:, right]
    # Rounding may put the mean of two equal values below them.
    return max(0.0, float(at_default.min() - means[best.index]))
