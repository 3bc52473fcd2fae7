"""The area of a basin on maps whose area is known."""

import numpy as np
import pytest

from tfwd.tuning.maps import basin
from tfwd.tuning.maps import grid
from tfwd_tests.tuning import surfaces


def area_below_a_plane(a, b, c, limit):
    """{a u + b v + c <= limit} in the unit square, a and b positive."""

    def corner(t):
        return max(t, 0) ** 2 / (2 * a * b)

    t = limit - c
    return corner(t) - corner(t - a) - corner(t - b) + corner(t - a - b)


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("limit", np.linspace(0.0, 4.5, 10))
def test_area_is_exact_on_planes_of_any_direction(signs, limit):
    u = np.array([0, 0.2, 0.7, 1.0])
    v = np.array([0, 0.5, 1.0])
    a, b = 1.3, 2.4

    def plane(i, j):
        i, j = (
            k if s > 0 else 1 - k for k, s in zip((i, j), signs, strict=True)
        )
        return a * i + b * j + 0.4

    found = basin.basin(surfaces.of(plane, u, v), threshold=limit)
    expected = area_below_a_plane(a, b, 0.4, limit)
    assert found.area == pytest.approx(expected, abs=1e-9)


def test_area_of_a_plane_along_an_axis_is_exact():
    map_ = surfaces.of(lambda u, v: v, range(4), range(-6, -1))
    assert basin.basin(map_, threshold=-3.75).area == pytest.approx(3 * 2.25)


def bowl_area(step, radius=1.5):
    axis = np.arange(-2, 2 + step / 2, step)
    # A centre between the points, so that no symmetry helps.
    map_ = surfaces.of(
        lambda u, v: 5 * ((u - 0.07) ** 2 + (v + 0.11) ** 2), axis, axis
    )
    return basin.basin(map_, threshold=5 * radius**2).area


@pytest.mark.parametrize("step", [1.0, 0.5, 0.25, 0.125])
def test_area_of_a_bowl_is_below_its_own_by_at_most_half_a_square_times_pi(
    step,
):
    missing = np.pi * 1.5**2 - bowl_area(step)
    assert 0 <= missing <= np.pi * step**2 / 2


def test_error_of_a_bowl_falls_as_a_third_of_the_square_times_pi():
    for step in (0.25, 0.125, 0.0625):
        missing = np.pi * 1.5**2 - bowl_area(step)
        assert missing == pytest.approx(np.pi * step**2 / 3, rel=0.06)


def test_area_of_a_rotated_ellipse_is_that_of_its_half_axes():
    axis = np.arange(-2, 2.01, 0.05)
    map_ = surfaces.of(surfaces.rotated(0.6, short=1, long=0.25), axis, axis)
    found = basin.basin(map_, threshold=0.5)
    # Half-axes √(t/1) and √(t/0.25).
    assert found.area == pytest.approx(np.pi * 0.5 * 2, rel=0.01)


def test_whole_grid_below_the_threshold_has_its_whole_area():
    map_ = surfaces.of(lambda u, v: 4.0, [-4, -3.5, -1], [-5, -3])
    for threshold in (4.0, 9):
        found = basin.basin(map_, threshold=threshold)
        assert found.area == pytest.approx(6)
        assert found.cells == 6 and found.is_cut
    assert basin.basin(map_, threshold=3.999).area == 0


def test_squares_with_a_diverged_corner_have_no_area():
    def peak(u, v):
        return np.inf if (u, v) == (1, 1) else 0.0

    found = basin.basin(surfaces.of(peak, range(5), range(5)), threshold=1)
    assert found.area == pytest.approx(16 - 4)
    assert found.cells == 24


def test_best_and_a_margin_is_the_threshold_of_the_sum():
    axis = np.arange(-2, 2.1, 0.5)
    map_ = surfaces.of(lambda u, v: 3 + u**2 + v**2, axis, axis)
    margin = basin.basin(map_, above_best=0.8)
    assert margin == basin.basin(map_, threshold=3.8)
    assert margin.threshold == pytest.approx(3.8) and not margin.is_cut


def test_basin_at_the_edge_of_the_grid_is_told_to_be_cut():
    axis = np.arange(-2, 2.1, 0.5)
    map_ = surfaces.of(lambda u, v: (u - 2) ** 2 + v**2, axis, axis)
    assert basin.basin(map_, threshold=0.5).is_cut


def test_basin_of_an_accuracy_is_that_of_the_error():
    axis = np.arange(-2, 2.1, 0.5)
    rows = surfaces.trials(lambda u, v, _: 95 - u**2 - v**2, axis, axis)
    accuracy = grid.from_trials(rows, surfaces.X, surfaces.Y, maximize=True)
    error = surfaces.of(lambda u, v: 5 + u**2 + v**2, axis, axis)
    expected = basin.basin(error, threshold=6)
    for found in (
        basin.basin(accuracy, threshold=94),
        basin.basin(accuracy, above_best=1),
    ):
        assert found.area == pytest.approx(expected.area)
        assert found.threshold == pytest.approx(94)


@pytest.mark.parametrize("limits", [{}, {"threshold": 1, "above_best": 1}])
def test_threshold_and_margin_exclude_each_other(limits):
    map_ = surfaces.of(lambda u, v: u, range(3), range(3))
    with pytest.raises(ValueError, match="One of `threshold` and `above_best`"):
        basin.basin(map_, **limits)


@pytest.mark.parametrize(
    ("name", "value"),
    [("threshold", np.nan), ("threshold", "4.9"), ("above_best", -1)],
)
def test_bad_limits_are_refused(name, value):
    map_ = surfaces.of(lambda u, v: u, range(3), range(3))
    with pytest.raises(ValueError, match=f"`{name}` must be in"):
        basin.basin(map_, **{name: value})


@pytest.mark.parametrize("i", range(5))
@pytest.mark.parametrize("j", range(5))
def test_basin_is_cut_if_and_only_if_a_cell_of_it_is_on_the_edge(i, j):
    def hole(u, v):
        return 0.0 if (u, v) == (i, j) else 1.0

    map_ = surfaces.of(hole, range(5), range(5))
    is_on_edge = i in (0, 4) or j in (0, 4)
    assert basin.basin(map_, threshold=0.5).is_cut == is_on_edge
