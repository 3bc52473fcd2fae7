"""What the map of a search says, each number with an interval over seeds.

    rows = trials.read("results/tune/trials.csv")
    found = maps.findings(
        grid.from_trials(rows, "learning_rate", "weight_decay"),
        default=5e-4,
        thresholds=[4.9],
    )
    print(maps.as_text(found))

The formulas stand at `optimum` (the best cell, its distance from the edge, the
regret of a default), `valley` (the slope), `basin` (the area) and `bootstrap`
(the interval).
"""

import collections.abc
import dataclasses
import functools

from tfwd import arguments
from tfwd import text_table
from tfwd.tuning.maps import basin as basin_lib
from tfwd.tuning.maps import bootstrap
from tfwd.tuning.maps import grid as grid_lib
from tfwd.tuning.maps import optimum
from tfwd.tuning.maps import valley


@dataclasses.dataclass(frozen=True)
class Finding:
    """A number that a map says.

    Attributes:
        name: What it is.
        value: None where it is not defined.
        interval: A `bootstrap.Interval`, None without two seeds in a cell.
        remark: What to know of it, one line or nothing.
    """

    name: str
    value: float | None
    interval: bootstrap.Interval | None
    remark: str = ""


def findings(
    grid: grid_lib.Grid,
    *,
    default: float | None = None,
    thresholds: collections.abc.Sequence[float] = (),
    above_best: collections.abc.Sequence[float] = (),
    within: float | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Finding]:
    """Returns what a map says, a list of `Finding`.

    In this order: the best x, y and their objective; the slope, given three
    y or more; an area per threshold and margin; the regret of a default; the
    distance in decades from each side, with a warning as `edge_distances`.

    Args:
        grid: A `grid.Grid` without holes.
        default: A y whose regret is asked for.
        thresholds: Objectives to take the basin's area at.
        above_best: Margins to the best cell, likewise.
        within: As `valley.slope`.
        resamples: As `bootstrap.interval`.
        confidence: As `bootstrap.interval`.
        seed: As `bootstrap.interval`.

    Raises:
        ValueError: By one of the measures.
    """
    measures = [
        *_of_best(grid),
        *_of_slope(grid, within),
        *_of_basins(grid, thresholds, above_best),
        *_of_default(grid, default),
        *_of_edges(grid),
    ]
    return [
        Finding(
            name,
            measure(grid),
            bootstrap.interval(
                grid,
                measure,
                resamples=resamples,
                confidence=confidence,
                seed=seed,
            ),
            remark,
        )
        for name, measure, remark in measures
    ]


def as_text(found: collections.abc.Iterable[Finding]) -> str:
    """Returns findings as aligned lines: name, value, interval, remark."""
    cells = [
        (each.name, _number(each.value), _ends(each.interval), each.remark)
        for each in found
    ]
    return "\n".join(text_table.lines(cells))


def _of_best(grid):
    """Yields names, functions of a grid and remarks, as all `_of_` below."""
    seeds = optimum.best_cell(grid).seeds
    remark = f"mean of {seeds} seed{'s' if seeds > 1 else ''}"
    yield f"best {grid.x}", lambda g: optimum.best_cell(g).x, ""
    yield f"best {grid.y}", lambda g: optimum.best_cell(g).y, ""
    yield "its objective", lambda g: optimum.best_cell(g).objective, remark


def _of_slope(grid, within):
    if len(grid.y_values) < 3:
        return
    slope = valley.slope(grid, within)
    remark = f"{len(slope.best_y)} points"
    if slope.left_out:
        reasons = [f"{x:g} {why}" for x, why in slope.left_out.items()]
        remark += f"; left out: {', '.join(reasons)}"
    name = f"d log {grid.y}* / d log {grid.x}"
    yield name, lambda g: valley.slope(g, within).value, remark


def _of_basins(grid, thresholds, above_best):
    sign = ">=" if grid.maximize else "<="
    limits = {f"{sign} {value}": {"threshold": value} for value in thresholds}
    for value in above_best:
        limits[f"within {value} of the best"] = {"above_best": value}
    for name, limit in limits.items():
        basin = basin_lib.basin(grid, **limit)
        remark = f"{basin.cells} cells" + ", cut by the edge" * basin.is_cut
        yield f"decades² {name}", functools.partial(_area, **limit), remark


def _area(grid, **limit):
    return basin_lib.basin(grid, **limit).area


def _of_default(grid, default):
    if default is not None:
        name = f"regret of {grid.y}={arguments.shown(default)}"
        yield name, lambda g: optimum.regret(g, default), ""


def _of_edges(grid):
    for side, distance in optimum.edge_distances(grid).items():
        remark = "the best cell is on it" * (distance.cells == 0)
        yield f"decades to {side}", functools.partial(_decades, side), remark


def _decades(side, grid):
    return optimum.edge_distances(grid, warn=False)[side].decades


def _number(value):
    return "undefined" if value is None else f"{value:.4g}"


def _ends(interval):
    if interval is None:
        return "no interval"
    text = f"[{_number(interval.low)}, {_number(interval.high)}]"
    if interval.undefined:
        text += f", {interval.undefined} undefined"
    return text
