"""The plot of a search, if its values make one."""

import warnings

from tfwd import durable
from tfwd.tuning.output import panels

HEATMAP = "heatmap.png"
LINE = "line.png"


def draw(cells, names, objective, title, folder, best):
    """Draws heatmap.png of two numbers that vary, or line.png of one.

    A plot that fails never stops a search.

    Args:
        cells: Of `results.cells`.
        names: The searched names.
        objective: The `objective.Objective`.
        title: Of the plot.
        folder: The `pathlib.Path` of the search.
        best: The chosen `results.Cell`, None for none.

    Returns:
        The name of the plot, None without one.
    """
    try:
        layout = panels.layout(cells, names)
    except ValueError:
        return None
    try:
        # Slow to import, and of no use before.
        if layout.y is None:
            from tfwd.tuning.output import lines as kind
        else:
            from tfwd.tuning.output import heatmap as kind

        name = LINE if layout.y is None else HEATMAP
        durable.replace(
            folder / name,
            lambda path: kind.draw(cells, layout, objective, title, path, best),
        )
    except Exception as error:
        warnings.warn(f"A plot is missing ({error})", stacklevel=2)
        return None
    return name
