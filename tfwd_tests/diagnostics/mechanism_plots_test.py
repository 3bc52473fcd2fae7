"""The picture of a run: what is in it, and what it says is not.

Covers `mechanism_plots`.
"""

import math

import pytest
from matplotlib import figure
from matplotlib import image

from tfwd.diagnostics import mechanism_plots
from tfwd.diagnostics import table

LAYER_COLUMNS = (
    "weight_norm",
    "effective_learning_rate",
    "effective_damping",
    "gauss_newton_trace",
    "fisher_trace",
)
MODEL_COLUMNS = (
    "jacobian",
    "jacobian_error",
    "gauss_newton_norm",
    "kfac_gauss_newton_norm",
)


def rows_of(epochs, layers, columns=LAYER_COLUMNS + MODEL_COLUMNS):
    """Returns rows whose number grows with epoch and depth."""
    rows = []
    for epoch in epochs:
        for depth in range(layers):
            values = {name: (epoch + 1) / (depth + 1) for name in LAYER_COLUMNS}
            rows.append((f"layer_{depth}", epoch, values))
        values = {name: epoch + 1.0 for name in MODEL_COLUMNS}
        rows.append((table.MODEL, epoch, values))
    return [
        table.row(
            layer,
            epoch=epoch,
            **{n: v for n, v in values.items() if n in columns},
        )
        for layer, epoch, values in rows
    ]


@pytest.fixture
def pages(monkeypatch):
    """Keeps the figures that are drawn."""
    kept = []
    save = figure.Figure.savefig

    def keep(page, *arguments, **options):
        kept.append(page)
        save(page, *arguments, **options)

    monkeypatch.setattr(figure.Figure, "savefig", keep)
    return kept


def panels_of(page):
    return {
        panel.get_title(): panel for panel in page.axes if panel.get_title()
    }


def is_empty(panel):
    return [text.get_text() for text in panel.texts] == ["not measured"]


def test_layers_are_lines_coloured_by_depth_without_a_legend(pages, tmp_path):
    mechanism_plots.draw(
        rows_of(range(3), 34), "run", tmp_path / "mechanisms.png"
    )
    assert image.imread(tmp_path / "mechanisms.png").shape[2] == 4
    (page,) = pages
    panels = panels_of(page)
    assert len(panels) == 6
    for title in ("Effective learning rate", "Weight norm"):
        panel = panels[title]
        assert len(panel.lines) == 34 and panel.get_legend() is None
        assert len({line.get_color() for line in panel.lines}) == 34
        assert list(panel.lines[1].get_ydata()) == [0.5, 1.0, 1.5]
    assert not any(map(is_empty, panels.values()))


def test_jacobian_has_a_band_of_two_standard_errors(pages, tmp_path):
    mechanism_plots.draw(rows_of((0, 1), 1), "run", tmp_path / "mechanisms.png")
    panel = panels_of(pages[0])["Squared Jacobian norm"]
    (band,) = panel.collections
    heights = band.get_paths()[0].vertices[:, 1]
    # Errors of 1 and 2 about means of 1 and 2.
    assert heights.min() == -2 and heights.max() == 6


def test_traces_are_those_of_the_first_layer_and_the_mean(pages, tmp_path):
    mechanism_plots.draw(rows_of((0, 1), 3), "run", tmp_path / "mechanisms.png")
    panel = panels_of(pages[0])["Curvature of normalized weights"]
    lines = {line.get_label(): list(line.get_ydata()) for line in panel.lines}
    assert lines["Fisher, layer_0"] == [1, 2]
    mean = (1 + 1 / 2 + 1 / 3) / 3
    assert lines["Fisher, mean of layers"] == pytest.approx([mean, 2 * mean])
    assert len(lines) == 4


def test_panel_without_data_says_so(pages, tmp_path):
    rows = rows_of((0,), 2, columns=("weight_norm",))
    rows[0]["effective_learning_rate"] = math.inf
    mechanism_plots.draw(rows, "run", tmp_path / "mechanisms.png")
    panels = panels_of(pages[0])
    measured = {title for title, panel in panels.items() if not is_empty(panel)}
    assert measured == {"Weight norm"}
