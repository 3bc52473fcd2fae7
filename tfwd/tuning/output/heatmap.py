"""The map of a search of two numbers as a figure."""

import math

from matplotlib import colors
from matplotlib import figure
from matplotlib import lines
from matplotlib import patches
from matplotlib.backends import backend_agg

from tfwd.tuning.engine import outcome
from tfwd.tuning.output import grid_cells
from tfwd.tuning.output import panels
from tfwd.tuning.output import wording

_COLUMNS = 3
_STAR = {
    **{"marker": "*", "color": "white", "markeredgecolor": "black"},
    **{"markersize": 17, "linestyle": "none"},
}
_CROSS = {
    **{"marker": "x", "color": "0.45", "markersize": 8, "linestyle": "none"},
}


def draw(cells, layout, objective, title, path, best=None):
    """Draws the mean over seeds of each cell in colour, with contours.

    The colours end where a few bad cells would spoil them; a diverged cell is
    hatched, one without a result empty, the chosen one has a star. Where the
    values are no grid, as those of a random search, there is a point for each.
    All panels have the same colours.

    Args:
        cells: Of `results.cells`.
        layout: A `panels.Layout` of them with two axes.
        objective: An `objective.Objective`.
        title: Title of the figure.
        path: PNG file to write.
        best: The chosen `results.Cell`, None for none.
    """
    count = len(layout.parts)
    columns = 2 if count == 4 else min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    plot = figure.Figure(
        figsize=(max(7.5, 5.5 * columns + 1), 5 * rows + 0.8),
        layout="constrained",
    )
    backend_agg.FigureCanvasAgg(plot)
    plot.suptitle(title)
    axes = plot.subplots(rows, columns, squeeze=False, sharey=True)
    norm, extend = _norm(cells, objective)
    x, y = (panels.axis(cells, name) for name in (layout.x, layout.y))
    shades = "viridis" if objective.maximize else "viridis_r"
    image = None
    # Else most cells would be empty.
    is_grid = 2 * len(cells) >= count * len(x.values) * len(y.values)
    draw_part = grid_cells.draw if is_grid else _draw_points
    for panel, (value, part) in zip(
        axes.flat, layout.parts.items(), strict=False
    ):
        panel.set(xlabel=layout.x, **_scales(x, y))
        image = draw_part(panel, part, layout, x, y, norm, shades)
        panels.set_ticks(panel.xaxis, x, is_grid)
        panels.set_ticks(panel.yaxis, y, is_grid)
        if layout.by:
            panel.set_title(f"{layout.by} = {wording.of_value(value)}")
        if best is not None and best in part:
            # A point would be hidden, a cell is larger.
            color = {} if is_grid else {"color": image.to_rgba(best.mean)}
            panel.plot(*_places([best], layout, x, y), **_STAR | color)
    for panel in axes[:, 0]:
        panel.set_ylabel(layout.y)
    for panel in axes.flat[count:]:
        panel.set_visible(False)
    bar = plot.colorbar(image, ax=axes, extend=extend)
    bar.set_label(f"{objective.name}, mean over seeds")
    _add_legend(plot, cells, best, is_grid)
    plot.savefig(path, dpi=120)


def _norm(cells, objective):
    """The range of the colours, and on which sides values lie beyond it."""
    means = [cell.mean for cell in cells if cell.mean is not None]
    if not means:
        return colors.Normalize(0, 1), "neither"
    costs = list(map(objective.cost, means))
    limit = panels.robust_limit(costs)
    is_clipped = limit < max(costs)
    if objective.maximize:
        norm = colors.Normalize(-limit, max(means))
        return norm, "min" if is_clipped else "neither"
    norm = colors.Normalize(min(means), limit)
    return norm, "max" if is_clipped else "neither"


def _scales(x, y):
    return {
        f"{side}scale": "log" if axis.scale == "log" else "linear"
        for side, axis in (("x", x), ("y", y))
    }


def _draw_points(panel, cells, layout, x, y, norm, shades):
    done = [cell for cell in cells if cell.mean is not None]
    diverged = [cell for cell in cells if cell.status == outcome.DIVERGED]
    panel.plot(*_places(diverged, layout, x, y), **_CROSS)
    return panel.scatter(
        *_places(done, layout, x, y),
        c=[cell.mean for cell in done],
        norm=norm,
        cmap=shades,
        s=70,
        edgecolors="0.3",
        linewidths=0.5,
    )


def _places(cells, layout, x, y):
    return (
        [x.place(cell.values[layout.x]) for cell in cells],
        [y.place(cell.values[layout.y]) for cell in cells],
    )


def _add_legend(plot, cells, best, is_grid):
    handles = []
    if best is not None:
        handles.append(lines.Line2D([], [], label="chosen", **_STAR))
    if any(cell.status == outcome.DIVERGED for cell in cells):
        hatched = patches.Patch(label="diverged", **grid_cells.HATCH)
        crossed = lines.Line2D([], [], label="diverged", **_CROSS)
        handles.append(hatched if is_grid else crossed)
    if is_grid and any(
        cell.status in (outcome.FAILED, outcome.PRUNED) for cell in cells
    ):
        handles.append(
            patches.Patch(
                label="no result (failed, pruned)",
                facecolor="white",
                edgecolor="0.7",
            )
        )
    if handles:
        plot.legend(
            handles=handles, loc="outside lower center", ncols=len(handles)
        )
