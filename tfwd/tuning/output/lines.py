"""The results of a search of one number as a figure: lines with errors."""

import math

from matplotlib import figure
from matplotlib import lines
from matplotlib.backends import backend_agg

from tfwd.tuning.engine import outcome
from tfwd.tuning.output import panels
from tfwd.tuning.output import wording

_STAR = {
    **{"marker": "*", "color": "white", "markeredgecolor": "black"},
    **{"markersize": 15, "linestyle": "none", "zorder": 5},
}
_CROSS = {"marker": "x", "markersize": 8, "linestyle": "none"}
# In heights of the plot; of several lines the next is below.
_TOP, _BELOW = 0.97, 0.03
# Both in multiples of what `panels.robust_limit` reaches from the best.
_FAR, _SHOWN = 5, 2


def draw(cells, layout, objective, title, path, best=None):
    """Draws mean ± standard deviation over the seeds against the number.

    A diverged cell is a cross at the top. The chosen one has a star. Where one
    other value varies each of its values has a line.

    Args:
        cells: Of `results.cells`.
        layout: A `panels.Layout` of them with one axis.
        objective: An `objective.Objective`.
        title: Title of the plot.
        path: PNG file to write.
        best: The chosen `results.Cell`, None for none.
    """
    plot = figure.Figure(figsize=(8, 5.5), layout="constrained")
    backend_agg.FigureCanvasAgg(plot)
    plot.suptitle(title)
    panel = plot.subplots()
    axis = panels.axis(cells, layout.x)
    for number, (value, part) in enumerate(layout.parts.items()):
        color = f"C{number % 10}"
        _draw_line(panel, part, layout, axis, value, color)
        _draw_crosses(panel, part, layout.x, axis, number, color)
    if best is not None:
        place = axis.place(best.values[layout.x])
        panel.plot(place, best.mean, **_STAR)
    panel.set_xscale("log" if axis.scale == "log" else "linear")
    panels.set_ticks(panel.xaxis, axis, len(axis.values) <= panels.MOST_TICKS)
    unit = "mean ± standard deviation over seeds"
    if all(cell.deviation is None for cell in cells):
        unit = "one seed"
    panel.set(xlabel=layout.x, ylabel=f"{objective.name}\n{unit}")
    panel.grid(alpha=0.3)
    if any(cell.status == outcome.DIVERGED for cell in cells):
        # Room for the crosses.
        panel.margins(y=0.04 + _BELOW * (len(layout.parts) + 1))
    _leave_out_the_worst(panel, cells, objective)
    _add_legend(panel, cells, layout, best)
    plot.savefig(path, dpi=120)


def _draw_line(panel, cells, layout, axis, value, color):
    # A cell without a result interrupts the line.
    places, means, deviations = zip(
        *sorted(
            (
                axis.place(cell.values[layout.x]),
                math.nan if cell.mean is None else cell.mean,
                math.nan if cell.deviation is None else cell.deviation,
            )
            for cell in cells
        ),
        strict=True,
    )
    panel.errorbar(
        *(places, means, deviations),
        color=color,
        label=f"{layout.by} = {wording.of_value(value)}" if layout.by else None,
        marker="o",
        markersize=4,
        capsize=3,
    )


def _draw_crosses(panel, cells, x, axis, number, color):
    diverged = [
        axis.place(cell.values[x])
        for cell in cells
        if cell.status == outcome.DIVERGED
    ]
    if diverged:
        panel.plot(
            diverged,
            [_TOP - number * _BELOW] * len(diverged),
            color=color,
            transform=panel.get_xaxis_transform(),
            **_CROSS,
        )


def _leave_out_the_worst(panel, cells, objective):
    """Ends the axis where a few bad cells would flatten all others."""
    means = [cell.mean for cell in cells if cell.mean is not None]
    costs = list(map(objective.cost, means))
    if not costs:
        return
    best = min(costs)
    reach = panels.robust_limit(costs) - best
    if max(costs) - best > _FAR * reach > 0:
        limit = best + _SHOWN * reach
        if objective.maximize:
            panel.set_ylim(bottom=-limit)
        else:
            panel.set_ylim(top=limit)


def _add_legend(panel, cells, layout, best):
    handles, _ = panel.get_legend_handles_labels() if layout.by else ([], [])
    if best is not None:
        handles.append(lines.Line2D([], [], label="chosen", **_STAR))
    if any(cell.status == outcome.DIVERGED for cell in cells):
        handles.append(
            lines.Line2D([], [], label="diverged", color="0.4", **_CROSS)
        )
    if handles:
        panel.legend(handles=handles)
