"""The cells of a map as a figure: colours, contours, numbers, hatches."""

import numpy as np
from matplotlib import patches
from matplotlib import ticker

from tfwd.tuning.engine import outcome

# Cells have their number in them up to so many in a row.
_MOST_NUMBERS = 10
HATCH = {
    **{"hatch": "////", "facecolor": "0.93", "edgecolor": "0.55"},
    "linewidth": 0,
}


def draw(panel, cells, layout, x, y, norm, shades):
    """Draws the cells of a grid.

    Args:
        panel: Matplotlib axes, whose scales are set.
        cells: Of `results.cells`, those of the panel.
        layout: A `panels.Layout` with two axes.
        x: The `panels.Axis` of the first.
        y: That of the second.
        norm: The range of the colours.
        shades: Name of the colour map.

    Returns:
        What has the colours.
    """
    means = np.full((len(y.values), len(x.values)), np.nan)
    for cell in cells:
        place = _index(cell, layout, x, y)
        # A trial again, with a result, says more than one without.
        if cell.mean is not None:
            means[place] = cell.mean
        elif cell.status == outcome.DIVERGED:
            _hatch(panel, place, x, y)
    image = panel.pcolormesh(
        *(x.edges(), y.edges(), np.ma.masked_invalid(means)),
        norm=norm,
        cmap=shades,
    )
    _draw_contours(panel, x, y, means, norm)
    if len(x.values) <= _MOST_NUMBERS:
        _write_numbers(panel, x, y, means, image)
    return image


def _draw_contours(panel, x, y, means, norm):
    inside = means[np.isfinite(means)]
    if min(means.shape) < 2 or not len(inside):
        return
    levels = [
        level
        for level in ticker.MaxNLocator(7).tick_values(norm.vmin, norm.vmax)
        if max(norm.vmin, inside.min()) < level < min(norm.vmax, inside.max())
    ]
    if levels:
        panel.contour(
            *(x.places(), y.places(), np.ma.masked_invalid(means)),
            levels=levels,
            colors="white",
            linewidths=0.8,
            alpha=0.7,
        )


def _write_numbers(panel, x, y, means, image):
    for i, j in np.argwhere(np.isfinite(means)):
        red, green, blue, _ = image.to_rgba(means[i, j])
        is_dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        panel.annotate(
            _number(means[i, j]),
            (x.places()[j], y.places()[i]),
            (0, -11),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if is_dark else "black",
        )


def _number(value):
    """Three digits; 1170 and not 1.17e+03."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e5 else f"{value:.3g}"


def _index(cell, layout, x, y):
    return (
        y.values.index(cell.values[layout.y]),
        x.values.index(cell.values[layout.x]),
    )


def _hatch(panel, place, x, y):
    (i, j), left, low = place, x.edges(), y.edges()
    panel.add_patch(
        patches.Rectangle(
            (left[j], low[i]),
            left[j + 1] - left[j],
            low[i + 1] - low[i],
            **HATCH,
        )
    )
