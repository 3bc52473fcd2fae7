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

import dataclasses

from tfwd.tuning import basin as basin_lib
from tfwd.tuning import bootstrap
from tfwd.tuning import optimum
from tfwd.tuning import valley


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
    grid,
    *,
    default=None,
    thresholds=(),
    above_best=(),
    within=None,
    resamples=1000,
    confidence=0.95,
    seed=0,
):
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

    def found(name, measure, remark=""):
        interval = bootstrap.interval(
            grid,
            measure,
            resamples=resamples,
            confidence=confidence,
            seed=seed,
        )
        return Finding(name, measure(grid), interval, remark)

    distances = optimum.edge_distances(grid)
    best = optimum.best_cell(grid)
    result = [
        found(f"best {grid.x}", lambda g: optimum.best_cell(g).x),
        found(f"best {grid.y}", lambda g: optimum.best_cell(g).y),
        found(
            "its objective",
            lambda g: optimum.best_cell(g).objective,
            f"mean of {best.seeds} seed{'s' if best.seeds > 1 else ''}",
        ),
    ]
    if len(grid.y_values) >= 3:
        result.append(
            found(
                f"d log {grid.y}* / d log {grid.x}",
                lambda g: valley.slope(g, within).value,
                _of_slope(valley.slope(grid, within)),
            )
        )
    sign = ">=" if grid.maximize else "<="
    limits = [
        (f"decades² {sign} {value}", {"threshold": value})
        for value in thresholds
    ] + [
        (f"decades² within {value} of the best", {"above_best": value})
        for value in above_best
    ]
    for name, limit in limits:
        basin = basin_lib.basin(grid, **limit)
        result.append(
            found(
                name,
                lambda g, limit=limit: basin_lib.basin(g, **limit).area,
                f"{basin.cells} cells" + ", cut by the edge" * basin.is_cut,
            )
        )
    if default is not None:
        result.append(
            found(
                f"regret of {grid.y}={default}",
                lambda g: optimum.regret(g, default),
            )
        )
    for side, distance in distances.items():
        result.append(
            found(
                f"decades to {side}",
                lambda g, side=side: (
                    optimum.edge_distances(g, warn=False)[side].decades
                ),
                "the best cell is on it" * (distance.cells == 0),
            )
        )
    return result


def as_text(found):
    """Returns findings as aligned lines: name, value, interval, remark."""
    cells = [
        (each.name, _number(each.value), _ends(each.interval), each.remark)
        for each in found
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) for text, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in cells
    )


def _of_slope(slope):
    text = f"{len(slope.best_y)} points"
    if slope.left_out:
        reasons = [f"{x:g} {why}" for x, why in slope.left_out.items()]
        text += f"; left out: {', '.join(reasons)}"
    return text


def _number(value):
    return "undefined" if value is None else f"{value:.4g}"


def _ends(interval):
    if interval is None:
        return "no interval"
    return f"[{_number(interval.low)}, {_number(interval.high)}]"
