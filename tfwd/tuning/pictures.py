"""The picture of a search: a map of two numbers, or lines of one."""

from tfwd import durable
from tfwd.tuning import panels
from tfwd.tuning import results

NAMES = ("heatmap.png", "line.png")


def draw(rows, names, objective, title, folder, best=None):
    """Draws heatmap.png or line.png, whichever fits what was searched.

    Args:
        rows: Those of trials.csv.
        names: The searched names, the slowest first.
        objective: An `objective.Objective`.
        title: Title of the picture.
        folder: The `pathlib.Path` to write to.
        best: The chosen `results.Cell`, None for none.

    Returns:
        The name of the file; None where `panels.layout` has no picture.

    Raises:
        durable.WriteError: The file could not be written.
    """
    cells = results.cells(rows)
    try:
        layout = panels.layout(cells, names)
    except ValueError:
        return None
    # matplotlib takes a second.
    from tfwd.tuning import heatmap
    from tfwd.tuning import lines

    name, module = ("heatmap.png", heatmap) if layout.y else ("line.png", lines)
    durable.replace(
        folder / name,
        lambda path: module.draw(cells, layout, objective, title, path, best),
    )
    return name
