"""What the map of a search says, as a part of its report."""

import warnings

import numpy as np

from tfwd.tuning import maps
from tfwd.tuning.maps import grid
from tfwd.tuning.output import panels
from tfwd.tuning.output import results
from tfwd.tuning.output import wording

# Margins to the best cell: of accuracies as they are, of others in proportion.
_POINTS = (0.005, 0.01)
_SHARES = (0.01, 0.05)


def text(rows, names, objective, default=None):
    """Returns the findings of each panel as Markdown, or why there are none.

    Args:
        rows: Those of trials.csv.
        names: The searched names, the slowest first.
        objective: An `objective.Objective`.
        default: A value of the second axis whose regret is told where it is
            within.
    """
    cells = results.cells(rows)
    try:
        layout = panels.layout(cells, names)
        if layout.y is None:
            raise ValueError(
                f"A map needs two numbers that vary. Received: {layout.x} alone"
            )
    except ValueError as error:
        return f"No map: {error}.\n"
    parts = []
    for value, part in layout.parts.items():
        if layout.by:
            parts.append(f"### {layout.by} = {wording.of_value(value)}\n")
        of_panel = [row for cell in part for row in cell.rows]
        parts.append(_of_panel(of_panel, layout, objective, default))
    return "\n".join(parts)


def margins(objective, best):
    """Returns how much worse than the best cell is still good, two numbers.

    Half a point and a point of an accuracy, a hundredth and a twentieth of
    another objective, to two digits.

    Args:
        objective: An `objective.Objective`.
        best: That of the best cell.
    """
    if objective.name.endswith("_accuracy"):
        return _POINTS
    return tuple(float(f"{share * abs(best):.2g}") for share in _SHARES)


def _of_panel(rows, layout, objective, default):
    best = results.best(rows, objective)
    try:
        found = grid.from_trials(
            rows, layout.x, layout.y, maximize=objective.maximize
        )
        low, high = found.y_values[[0, -1]]
        within = default is not None and low <= default <= high
        # What warns of an edge stands in the findings too.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told = maps.findings(
                found,
                default=default if within else None,
                above_best=margins(objective, best.mean) if best else (),
            )
    except ValueError as error:
        return f"No measures of this map: {error}.\n"
    lines = [
        "Intervals are of 95 %, by a bootstrap over seeds."
        if np.any(found.counts > 1)
        else "With one seed per cell there are no intervals.",
        "",
        "```",
        maps.as_text(told),
        "```",
        "",
    ]
    return "\n".join(lines)
