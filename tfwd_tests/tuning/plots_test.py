"""What a picture of a search shows.

Covers `heatmap`, `grid_cells` and `plots`.
"""

import numpy as np
import pytest
from matplotlib import colors
from matplotlib import figure

from tfwd.tuning.output import heatmap
from tfwd.tuning.output import plots
from tfwd.tuning.output import results
from tfwd_tests.tuning import searches

RATES = (1e-3, 1e-2, 1e-1)
DECAYS = (1e-5, 1e-4, 1e-3, 1e-2)
AXES = {"learning_rate": RATES, "weight_decay": DECAYS}


def bowl(learning_rate, weight_decay, seed=0, **_):
    """Accuracies that fall from the best cell, the third of the second rate."""
    u, v = np.log10(learning_rate) + 2, np.log10(weight_decay) + 3
    return float(0.9 - 0.1 * (u * u + v * v))


def with_bad_cells(learning_rate, weight_decay, **more):
    if weight_decay == 1e-5:
        return "diverged" if learning_rate == 1e-1 else "failed", "why"
    return bowl(learning_rate, weight_decay, **more)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws a search and returns its figure."""
    figures = []
    save = figure.Figure.savefig

    def keep(self, path, **options):
        figures.append(self)
        save(self, path, **options)

    monkeypatch.setattr(figure.Figure, "savefig", keep)

    def draw(rows, names, objective=searches.ACCURACY):
        best = results.best(rows, objective)
        name = plots.draw(
            *(results.cells(rows), names, objective, "title", tmp_path, best)
        )
        found = (tmp_path / name).read_bytes()
        assert found.startswith(b"\x89PNG")
        assert [path.name for path in tmp_path.iterdir()] == [name]
        return name, figures[-1]

    return draw


def mesh(panel):
    """The means of the cells as they are shown."""
    (found,) = [c for c in panel.collections if hasattr(c, "get_coordinates")]
    return found


def stars(panel):
    return [line for line in panel.lines if line.get_marker() == "*"]


def test_map_has_means_axes_and_the_chosen_cell(drawn):
    def result(seed, **values):
        return bowl(**values) + (-0.01, 0.01)[seed]

    rows = searches.rows(AXES, result, seeds=2)
    name, found = drawn(rows, tuple(AXES))
    assert name == "heatmap.png"
    panel, bar = found.axes
    expected = [[bowl(x, y) for x in RATES] for y in DECAYS]
    np.testing.assert_allclose(mesh(panel).get_array(), expected, rtol=1e-12)
    assert panel.get_xscale() == panel.get_yscale() == "log"
    assert panel.get_xlabel() == "learning_rate"
    assert panel.get_ylabel() == "weight_decay"
    assert bar.get_ylabel().startswith("validation_accuracy")
    assert found.get_suptitle() == "title"
    (star,) = stars(panel)
    np.testing.assert_allclose(star.get_xydata(), [[1e-2, 1e-3]])
    assert [text.get_text() for text in panel.texts][0] == "0.4"


def test_diverged_cell_is_hatched_and_one_without_result_empty(drawn):
    _, found = drawn(searches.rows(AXES, with_bad_cells), tuple(AXES))
    panel = found.axes[0]
    (hatched,) = panel.patches
    assert hatched.get_hatch()
    assert hatched.get_x() < 1e-1 < hatched.get_x() + hatched.get_width()
    assert hatched.get_y() < 1e-5 < hatched.get_y() + hatched.get_height()
    mask = np.ma.getmaskarray(mesh(panel).get_array())
    assert mask.tolist() == [[True] * 3] + [[False] * 3] * 3
    labels = [text.get_text() for text in found.legends[0].get_texts()]
    assert labels == ["chosen", "diverged", "no result (failed, pruned)"]


@pytest.mark.parametrize("maximize", [True, False])
def test_one_bad_cell_does_not_spoil_the_colours(drawn, maximize):
    def result(learning_rate, weight_decay, **_):
        value = 1 - bowl(learning_rate, weight_decay)
        if (learning_rate, weight_decay) == (1e-1, 1e-5):
            value = 1e6
        return -value if maximize else value

    goal = searches.ACCURACY if maximize else searches.PERPLEXITY
    _, found = drawn(searches.rows(AXES, result), tuple(AXES), goal)
    norm = mesh(found.axes[0]).norm
    assert isinstance(norm, colors.Normalize)
    ends = sorted([abs(norm.vmin), abs(norm.vmax)])
    assert ends == pytest.approx([0.1, 0.4])


def test_panels_of_optimizers_share_their_colours_and_one_has_the_star(drawn):
    def result(optimizer, **values):
        return bowl(**values) - 0.2 * (optimizer == "adamw")

    axes = {"optimizer": ("adams", "adamw")} | AXES
    _, found = drawn(searches.rows(axes, result), tuple(axes))
    first, second, _ = found.axes
    assert first.get_title() == "optimizer = adams"
    assert second.get_title() == "optimizer = adamw"
    norms = [mesh(panel).norm for panel in (first, second)]
    assert norms[0].vmin == norms[1].vmin
    assert norms[0].vmax == norms[1].vmax == 0.9
    assert [len(stars(panel)) for panel in (first, second)] == [1, 0]


def test_value_of_zero_has_a_row_of_its_own(drawn):
    def result(learning_rate, weight_decay, **_):
        return bowl(learning_rate, weight_decay or 1e-6)

    axes = {"learning_rate": RATES, "weight_decay": (0.0, *DECAYS)}
    _, found = drawn(searches.rows(axes, result), tuple(axes))
    panel = found.axes[0]
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", "linear")
    labels = [text.get_text() for text in panel.get_yticklabels()]
    assert labels == ["0", "1e-05", "0.0001", "0.001", "0.01"]


def test_values_of_a_random_search_are_points(drawn):
    rows = []
    for i, (rate, decay) in enumerate(zip(RATES * 3, DECAYS * 2, strict=False)):
        values = {
            "learning_rate": (rate * 1.1**i,),
            "weight_decay": (decay * 0.9**i,),
        }
        (row,) = searches.rows(values, with_bad_cells)
        rows.append(row | {"trial": str(i)})
    _, found = drawn(rows, tuple(AXES))
    (points,) = found.axes[0].collections
    done = [row for row in rows if row["status"] == "completed"]
    assert len(points.get_offsets()) == len(done) == len(rows) - 1


@pytest.mark.parametrize("status", ["diverged", "failed"])
@pytest.mark.parametrize("axes", [AXES, {"learning_rate": RATES}])
def test_search_without_a_result_is_drawn_all_the_same(drawn, axes, status):
    rows = searches.rows(axes, lambda **_: (status, "why"))
    drawn(rows, tuple(axes))


def test_line_has_means_deviations_and_crosses_at_the_top(drawn):
    def result(learning_rate, optimizer, seed):
        if (learning_rate, optimizer) == (1e-1, "adamw"):
            return "diverged", "why"
        return bowl(learning_rate, 1e-3) + (-0.01, 0.01)[seed]

    axes = {"learning_rate": RATES, "optimizer": ("adams", "adamw")}
    name, found = drawn(searches.rows(axes, result, seeds=2), tuple(axes))
    assert name == "line.png"
    (panel,) = found.axes
    assert panel.get_xscale() == "log"
    adams, adamw = panel.containers
    means = [bowl(rate, 1e-3) for rate in RATES]
    np.testing.assert_allclose(
        adams.lines[0].get_ydata(orig=False), means, rtol=1e-12
    )
    shown = adamw.lines[0].get_ydata(orig=False)
    np.testing.assert_allclose(shown, [*means[:2], np.nan], rtol=1e-12)
    # ± the deviation of two that are 0.02 apart.
    bottom, top = adams.lines[2][0].get_segments()[0][:, 1]
    assert top - bottom == pytest.approx(2 * 0.02 / 2**0.5)
    (cross,) = [line for line in panel.lines if line.get_marker() == "x"]
    assert cross.get_xdata() == [1e-1]
    to_axes = panel.transAxes.inverted()
    height = to_axes.transform(
        cross.get_transform().transform(cross.get_xydata())
    )
    assert 0.9 < height[0, 1] < 1
    assert stars(panel)[0].get_xydata().tolist() == [[1e-2, means[1]]]


@pytest.mark.parametrize("maximize", [True, False])
def test_one_bad_point_does_not_flatten_a_line(drawn, maximize):
    def result(learning_rate, **_):
        value = 1e6 if learning_rate == 1 else 1 - bowl(learning_rate, 1e-3)
        return -value if maximize else value

    goal = searches.ACCURACY if maximize else searches.PERPLEXITY
    axes = {"learning_rate": (*RATES, 0.3, 1.0)}
    _, found = drawn(searches.rows(axes, result), tuple(axes), goal)
    low, high = found.axes[0].get_ylim()
    # The others are within 0.1 and 0.4 of 0.
    assert 0.2 < (-low if maximize else high) < 1


def test_search_of_texts_alone_has_no_picture(tmp_path):
    rows = searches.rows({"optimizer": ("a", "b")}, lambda **_: 0.5)
    name = plots.draw(
        *(results.cells(rows), ("optimizer",), searches.ACCURACY),
        *("title", tmp_path, None),
    )
    assert name is None
    assert list(tmp_path.iterdir()) == []


def test_picture_that_fails_is_a_warning_and_leaves_no_file(
    tmp_path, monkeypatch
):
    def fail(*_):
        raise RuntimeError("no fonts")

    monkeypatch.setattr(heatmap, "draw", fail)
    cells = results.cells(searches.rows(AXES, bowl))
    with pytest.warns(UserWarning, match="A plot is missing .no fonts"):
        name = plots.draw(
            *(cells, tuple(AXES), searches.ACCURACY, "title", tmp_path, None)
        )
    assert name is None
    assert list(tmp_path.iterdir()) == []
