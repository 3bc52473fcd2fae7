"""The curves of a run, plotted."""

from matplotlib import figure
from matplotlib import ticker
from matplotlib.backends import backend_agg

_PANELS = (
    ("Loss", "cross-entropy", ("train_loss", "validation_loss", "test_loss")),
    (
        "Accuracy",
        "fraction correct",
        ("train_accuracy", "validation_accuracy", "test_accuracy"),
    ),
    ("Weights", "2-norm", ("weight_norm",)),
    ("Weight decay penalty", "½ Σ λ‖θ‖²", ("penalty",)),
    ("Learning rate", "η", ("learning_rate",)),
    ("Effective weight decay", "s λ", ("effective_weight_decay",)),
)


def draw(rows, title, path):
    """Draws losses, accuracies, norm, penalty and rates against the epoch.

    Args:
        rows: Dicts with the columns of metrics.csv, at least one.
        title: Title of the figure.
        path: PNG file to write.
    """
    plot = figure.Figure(figsize=(12, 7), layout="constrained")
    backend_agg.FigureCanvasAgg(plot)
    plot.suptitle(title)
    axes = plot.subplots(2, 3)
    for panel, (name, unit, columns) in zip(axes.flat, _PANELS, strict=True):
        for column in columns:
            _draw_column(panel, rows, column)
        panel.set(title=name, xlabel="epoch", ylabel=unit)
        panel.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
        if len(panel.lines) > 1:
            panel.legend()
    plot.savefig(path, dpi=120)


def _draw_column(panel, rows, column):
    points = [
        (row["epoch"], row[column]) for row in rows if row[column] is not None
    ]
    if points:
        # One epoch gives one point, which a line alone would not show.
        panel.plot(
            *zip(*points, strict=True),
            label=column.partition("_")[0],
            marker="o" if len(points) < 40 else None,
            markersize=3,
        )
