"""The three mechanisms of a run as one figure."""

import math

import matplotlib
from matplotlib import cm
from matplotlib import colors
from matplotlib import figure
from matplotlib import ticker
from matplotlib.backends import backend_agg

from tfwd.diagnostics import table

# Without the lightest yellow, which cannot be seen on white.
_DEPTHS = colors.LinearSegmentedColormap.from_list(
    "depths", matplotlib.colormaps["viridis"](range(230))
)
_OF_LAYERS = (
    ("Effective learning rate", "η / ‖θ‖²", "effective_learning_rate"),
    ("Weight norm", "‖θ‖", "weight_norm"),
    ("Effective damping", "λ ‖θ‖²", "effective_damping"),
)


def draw(rows, title, path):
    """Draws rates, norms and curvature.

    Panels: effective learning rate, weight norm and effective damping of every
    layer, coloured by its depth; the squared Jacobian norm with two standard
    errors to either side; the Gauss–Newton norms against it, a point per epoch;
    the traces of the Fisher and the Gauss–Newton matrix at the normalized
    weights, of the first layer and on average (Zhang et al. 2019, Figures 3, 5
    and 7). A panel without data says so.

    Args:
        rows: Dicts with the columns of diagnostics.csv, at least one.
        title: Title of the figure.
        path: PNG file to write.
    """
    plot = figure.Figure(figsize=(15, 8), layout="constrained")
    backend_agg.FigureCanvasAgg(plot)
    plot.suptitle(title)
    of_layers, (jacobian, relation, traces) = plot.subplots(2, 3)
    layers = [
        layer
        for layer in dict.fromkeys(row["layer"] for row in rows)
        if layer != table.MODEL
    ]
    for panel, names in zip(of_layers, _OF_LAYERS, strict=True):
        _draw_layers(panel, rows, layers, *names)
    _draw_jacobian(jacobian, rows)
    _draw_relation(relation, rows)
    _draw_traces(traces, rows, layers)
    for panel in (*of_layers, jacobian, traces):
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    for panel in (*of_layers, jacobian, relation, traces):
        panel.grid(alpha=0.3)
        if not panel.has_data():
            _say_not_measured(panel)
    if len(layers) > 1:
        _add_depths(plot, of_layers, layers)
    _add_epochs(plot, relation)
    plot.savefig(path, dpi=120)


def _draw_layers(panel, rows, layers, title, unit, column):
    panel.set(title=title, ylabel=unit)
    for number, layer in enumerate(layers):
        color = _DEPTHS(number / max(1, len(layers) - 1))
        _plot(panel, _points(rows, layer, "epoch", column), color=color)
    _use_logarithm(panel, "y", [row[column] for row in rows])


def _draw_jacobian(panel, rows):
    panel.set(title="Squared Jacobian norm", ylabel="E ‖∂z/∂x‖²")
    points = _points(rows, table.MODEL, "epoch", "jacobian", "jacobian_error")
    if not points:
        return
    epochs, means, errors = zip(*points, strict=True)
    _plot(panel, list(zip(epochs, means, strict=True)))
    panel.fill_between(
        epochs,
        [m - 2 * e for m, e in zip(means, errors, strict=True)],
        [m + 2 * e for m, e in zip(means, errors, strict=True)],
        alpha=0.25,
        label="± 2 standard errors",
    )
    panel.set_ylim(bottom=0)
    panel.legend()


def _draw_relation(panel, rows):
    panel.set(
        title="Gauss–Newton norm against Jacobian",
        xlabel="squared Jacobian norm",
        ylabel="Gauss–Newton norm",
    )
    epochs = [row["epoch"] for row in rows]
    for column, label, marker in (
        ("gauss_newton_norm", "exact", "o"),
        ("kfac_gauss_newton_norm", "K-FAC", "^"),
    ):
        points = _points(rows, table.MODEL, "jacobian", column, "epoch")
        if points:
            x, y, colored_by = zip(*points, strict=True)
            panel.scatter(
                x,
                y,
                c=colored_by,
                cmap=_DEPTHS,
                vmin=min(epochs),
                vmax=max(epochs),
                marker=marker,
                s=25,
                label=label,
            )
            _use_logarithm(panel, "x", x)
            _use_logarithm(panel, "y", y)
            panel.legend()


def _draw_traces(panel, rows, layers):
    panel.set(title="Curvature of normalized weights", ylabel="tr C(θ / ‖θ‖)")
    for column, label, color in (
        ("fisher_trace", "Fisher", "C0"),
        ("gauss_newton_trace", "Gauss–Newton", "C1"),
    ):
        measured = [
            (row["epoch"], row[column])
            for row in rows
            if row["layer"] != table.MODEL and row[column] is not None
        ]
        means = [
            (epoch, _mean([trace for e, trace in measured if e == epoch]))
            for epoch in dict.fromkeys(epoch for epoch, _ in measured)
        ]
        _plot(panel, means, color=color, label=f"{label}, mean of layers")
        for first in layers[:1]:
            _plot(
                panel,
                _points(rows, first, "epoch", column),
                color=color,
                linestyle="--",
                label=f"{label}, {first}",
            )
        _use_logarithm(panel, "y", [trace for _, trace in measured])
    if panel.has_data():
        panel.legend()


def _points(rows, layer, *columns):
    """Returns a tuple for each row of a layer that has all the values."""
    points = [
        tuple(row[column] for column in columns)
        for row in rows
        if row["layer"] == layer
    ]
    return [
        point
        for point in points
        if all(value is not None and math.isfinite(value) for value in point)
    ]


def _plot(panel, points, **style):
    if points:
        panel.plot(
            *zip(*points, strict=True),
            # One epoch gives one point, which a line alone would not show.
            marker="o" if len(points) < 40 else None,
            markersize=3,
            **style,
        )


def _mean(values):
    return sum(values) / len(values)


def _use_logarithm(panel, axis, values):
    values = [
        value for value in values if value is not None and math.isfinite(value)
    ]
    if values and min(values) > 0:
        panel.set(**{f"{axis}scale": "log"})
        ticks = getattr(panel, f"{axis}axis")
        # "6" and not "6 × 10⁰" where less than a decade is shown.
        ticks.set_major_formatter(ticker.LogFormatter())
        ticks.set_minor_formatter(
            ticker.LogFormatter(minor_thresholds=(1, 0.4))
        )


def _say_not_measured(panel):
    panel.set(xticks=[], yticks=[])
    panel.text(
        0.5,
        0.5,
        "not measured",
        color="grey",
        ha="center",
        va="center",
        transform=panel.transAxes,
    )


def _add_depths(plot, panels, layers):
    """Adds the key of the colours: the first and the last layer by name."""
    last = len(layers) - 1
    scale = cm.ScalarMappable(colors.Normalize(0, last), _DEPTHS)
    bar = plot.colorbar(scale, ax=list(panels), fraction=0.02, pad=0.01)
    bar.set_ticks([0, last], labels=[layers[0], layers[-1]])
    bar.ax.invert_yaxis()


def _add_epochs(plot, panel):
    if panel.collections:
        scale = panel.collections[0]
        bar = plot.colorbar(scale, ax=panel, fraction=0.03, pad=0.02)
        bar.set_label("epoch")
        bar.locator = ticker.MaxNLocator(integer=True)
