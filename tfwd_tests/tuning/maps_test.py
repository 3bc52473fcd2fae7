"""All that a map says, from its file to the lines that people read.

Covers `finding`.
"""

import csv
import warnings

import numpy as np
import pytest

from tfwd.tuning import maps
from tfwd.tuning.maps import grid
from tfwd.tuning.output import trials
from tfwd_tests.tuning import surfaces

AXIS = np.arange(-2, 2.1, 0.5)


def bowl(u, v):
    return 4 + surfaces.rotated(-np.pi / 4, short=1, long=0)(u, v) + u**2


def by_name(found):
    return {each.name: each for each in found}


def test_findings_of_a_file_are_those_of_the_surface_it_was_made_of(tmp_path):
    rows = surfaces.trials(lambda u, v, seed: bowl(u, v), AXIS, 2 * AXIS, 2)
    path = tmp_path / "trials.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    map_ = grid.from_trials(trials.read(path), surfaces.X, surfaces.Y)
    found = maps.findings(
        map_, default=100, thresholds=[4.9], above_best=[0.9], resamples=5
    )
    values = {name: each.value for name, each in by_name(found).items()}
    # f − 4 = (u + v)²/2 + u², of determinant 1/2, at v = 2 best at u = −1/2.
    assert values.pop("regret of weight_decay=100") == pytest.approx(1.375)
    area = values.pop("decades² <= 4.9")
    assert values.pop("decades² within 0.9 of the best") == area
    # Squares of 1/2 by 1 see f too high by (1.5/4 + 0.5)/6 in the mean.
    seen = 0.9 - 0.875 / 6
    assert area == pytest.approx(np.pi * seen / np.sqrt(0.5), rel=0.05)
    assert values == pytest.approx(
        {
            "best learning_rate": 1,
            "best weight_decay": 1,
            "its objective": 4,
            "d log weight_decay* / d log learning_rate": -1,
            "decades to lowest learning_rate": 2,
            "decades to highest learning_rate": 2,
            "decades to lowest weight_decay": 4,
            "decades to highest weight_decay": 4,
        }
    )
    for each in found:
        assert each.interval.low == each.interval.high == each.value


def test_best_cell_on_the_edge_warns_once_and_is_remarked():
    plane = surfaces.noisy(lambda u, v: u + v**2, AXIS, AXIS, 3, deviation=0.01)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = by_name(maps.findings(plane, resamples=20))
    assert len(caught) == 1 and "lowest learning_rate" in str(caught[0].message)
    remarked = [name for name, each in found.items() if "on it" in each.remark]
    assert remarked == ["decades to lowest learning_rate"]


def test_two_weight_decays_have_no_slope_among_the_findings():
    map_ = surfaces.of(lambda u, v: u**2 + v, AXIS, [0, 1])
    with pytest.warns(UserWarning, match="on the edge"):
        found = maps.findings(map_)
    assert not [each for each in found if each.name.startswith("d log")]


def test_text_is_aligned_and_says_what_is_missing():
    map_ = surfaces.of(lambda u, v: u**2 + (v - 2) ** 2, AXIS, AXIS)
    with pytest.warns(UserWarning, match="highest weight_decay"):
        text = maps.as_text(maps.findings(map_, thresholds=[0.3]))
    lines = text.splitlines()
    assert lines[2].split("  ")[0] == "its objective"
    assert lines[2].endswith("no interval  mean of 1 seed")
    slope = next(line for line in lines if line.startswith("d log"))
    assert "undefined" in slope and "left out: 0.01 edge, " in slope
    area = next(line for line in lines if line.startswith("decades²"))
    assert area.endswith("4 cells, cut by the edge")
    assert len({line.index("no interval") for line in lines}) == 1


def test_text_says_how_many_resamples_had_no_slope():
    # The best λ of the lower η is in the middle or, by the seeds, on the edge.
    steep = surfaces.noisy(lambda u, v: (v - u / 2) ** 2, [0, 1], [-1, 0, 1], 3)
    with pytest.warns(UserWarning, match="on the edge"):
        found = maps.findings(steep, resamples=200)
    slope = found[3]
    assert slope.interval.undefined > 0
    line = maps.as_text(found).splitlines()[3]
    assert f"], {slope.interval.undefined} undefined  " in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default", "best"),
        ("thresholds", ["4.9"]),
        ("above_best", [-1]),
        ("within", -1),
        ("resamples", 0),
    ],
)
def test_bad_arguments_are_refused_in_one_line(name, value):
    map_ = surfaces.of(lambda u, v: u**2 + v**2, AXIS, AXIS)
    with pytest.raises(ValueError, match="must be .*Received: ") as error:
        maps.findings(map_, **{name: value})
    assert "\n" not in str(error.value)
