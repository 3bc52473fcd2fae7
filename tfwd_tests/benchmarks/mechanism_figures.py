"""Zhang et al. 2019, Figures 3 and 7, from the diagnostics of three runs.

`python -m tfwd_tests.benchmarks.mechanism_figures --decay=RUN --no_decay=RUN
--kfac=RUN --output=FILE.png` draws two panels of the first layer, epoch by
epoch: its effective learning rate with and without weight decay, and the
traces of its normalized Fisher and Gauss-Newton matrices under K-FAC; it
prints the numbers. The runs are those of
`configs/three_mechanisms/cifar10_resnet20_bn_{sgd_l2,sgd}_narrow.flags` and
`cifar10_vgg11_bn_kfac_f_narrow.flags`.
"""

import argparse
import pathlib

from matplotlib import figure
from matplotlib import ticker
from matplotlib.backends import backend_agg

from tfwd.diagnostics import table


def of_first_layer(path, column):
    """{epoch: value} of the first layer in a run's diagnostics.csv."""
    rows = table.read(pathlib.Path(path) / "diagnostics.csv")
    first = rows[0]["layer"]
    return {row["epoch"]: row[column] for row in rows if row["layer"] == first}


def draw(panels, path):
    """Draws curves on logarithmic axes.

    Args:
        panels: (title, unit, {label: {epoch: value}}) of each panel.
        path: PNG file to write.
    """
    picture = figure.Figure(figsize=(10, 4), layout="constrained")
    backend_agg.FigureCanvasAgg(picture)
    for panel, (title, unit, curves) in zip(
        picture.subplots(1, len(panels)), panels, strict=True
    ):
        for label, points in curves.items():
            panel.plot(list(points), list(points.values()), label=label)
        panel.set(title=title, xlabel="epoch", ylabel=unit, yscale="log")
        panel.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
        panel.legend()
    picture.savefig(path, dpi=120)


def main(arguments=None):
    """Draws the picture and prints its numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("decay", "no_decay", "kfac"):
        parser.add_argument(
            f"--{name}", required=True, help="the folder of a run"
        )
    parser.add_argument("--output", required=True, help="PNG file to write")
    values = parser.parse_args(arguments)
    rate, traces = "effective_learning_rate", ("fisher", "gauss_newton")
    panels = [
        (
            "Effective learning rate, first layer (SGD)",
            "η / ‖θ‖²",
            {
                "with weight decay": of_first_layer(values.decay, rate),
                "without": of_first_layer(values.no_decay, rate),
            },
        ),
        (
            "Curvature at normalized weights, first layer (K-FAC)",
            "trace",
            {
                name.replace("_", "-"): of_first_layer(
                    values.kfac, f"{name}_trace"
                )
                for name in traces
            },
        ),
    ]
    draw(panels, values.output)
    for title, _, curves in panels:
        print(title)
        for label, points in curves.items():
            numbers = " ".join(f"{value:.3g}" for value in points.values())
            print(f"  {label}: {numbers}")


if __name__ == "__main__":
    main()
