"""The slope of the best λ on maps whose slope is known."""

import numpy as np
import pytest

from tfwd.tuning.maps import valley
from tfwd_tests.tuning import surfaces

U = np.linspace(-2, 2, 9)
V = np.linspace(-4, 4, 17)


@pytest.mark.parametrize("degrees", [0, 10, -30, -45, 45, 60, 75, 80])
@pytest.mark.parametrize("long", [0.01, 0.3, 1.0])
def test_slope_of_a_rotated_bowl_is_minus_b_over_c(degrees, long):
    angle = np.radians(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    bowl = surfaces.rotated(angle, short=1, long=long, u_0=0.13, v_0=-0.21)
    # f = a u² + 2b uv + c v² of the bowl, about its centre.
    b = (long - 1) * cosine * sine
    c = long * sine**2 + cosine**2
    map_ = surfaces.of(bowl, U, V)
    found = valley.slope(map_)
    assert found.value == pytest.approx(-b / c, abs=1e-9)
    for x, y in found.best_y.items():
        line = -0.21 - b / c * (np.log10(x) - 0.13)
        assert np.log10(y) == pytest.approx(line, abs=1e-9)


def test_slope_of_a_narrow_bowl_is_that_of_its_long_axis():
    for degrees in (-60, -45, 20):
        bowl = surfaces.rotated(np.radians(degrees), long=1e-6)
        tangent = np.tan(np.radians(degrees))
        found = valley.slope(surfaces.of(bowl, U, V)).value
        assert found == pytest.approx(tangent, rel=1e-4)


def test_slope_is_exact_on_uneven_grids():
    uneven_u = np.sort(np.random.default_rng(0).uniform(-1, 1, 6))
    uneven_v = np.sort(np.random.default_rng(1).uniform(-3, 3, 12))
    bowl = surfaces.rotated(np.radians(-30))
    b, c = -0.9 * np.cos(np.pi / 6) * -0.5, 0.1 / 4 + 3 / 4
    found = valley.slope(surfaces.of(bowl, uneven_u, uneven_v))
    assert found.value == pytest.approx(-b / c, abs=1e-9)


def rough(s):
    return np.abs(s - 0.3) + np.where(s > 0, 2 * s**4, np.exp(-s) - 1)


def test_slope_is_minus_one_where_only_the_product_counts():
    # Equal steps of both axes: each η sees the same points of `rough`.
    found = valley.slope(surfaces.of(lambda u, v: rough(u + v), U, V))
    assert found.value == pytest.approx(-1, abs=1e-9)
    assert len(found.best_y) == len(U) and not found.left_out


def test_slope_is_zero_where_the_best_does_not_depend_on_the_rate():
    map_ = surfaces.of(lambda u, v: np.cosh(3 * u) + rough(v), U, V)
    assert valley.slope(map_).value == pytest.approx(0, abs=1e-9)


def test_slope_does_not_depend_on_a_change_of_units():
    bowl = surfaces.rotated(np.radians(-30))
    found = valley.slope(surfaces.of(bowl, U, V)).value
    scaled = surfaces.of(lambda u, v: 7 * bowl(u - 5, v + 3) - 40, U + 5, V - 3)
    assert valley.slope(scaled).value == pytest.approx(found, abs=1e-9)


def test_learning_rates_whose_best_is_on_the_edge_are_left_out_and_named():
    bowl = surfaces.rotated(np.radians(-45), long=0)
    found = valley.slope(surfaces.of(bowl, U, np.linspace(-1, 4, 11)))
    assert found.left_out == {10.0**u: "edge" for u in (1.0, 1.5, 2.0)}
    assert found.value == pytest.approx(-1, abs=1e-9)


def test_learning_rates_that_diverged_are_left_out_and_named():
    def diverging(u, v):
        return np.inf if u > 1.2 else surfaces.rotated(-0.5)(u, v)

    found = valley.slope(surfaces.of(diverging, U, V))
    assert found.left_out == {10.0**1.5: "diverged", 10.0**2: "diverged"}


def test_within_keeps_the_learning_rates_near_the_best():
    # The best of each η is u², worse than the map's by at most 1 for |u| <= 1.
    map_ = surfaces.of(lambda u, v: u**2 + (v + u**3) ** 2, U, V)
    found = valley.slope(map_, within=1.0)
    assert set(found.left_out.values()) == {"far"}
    np.testing.assert_allclose(
        np.log10(list(found.best_y)), [-1, -0.5, 0, 0.5, 1], atol=1e-9
    )
    u = np.array([-1, -0.5, 0, 0.5, 1])
    # Between grid points the vertex of a parabola is exact.
    assert found.value == pytest.approx(-(u @ u**3) / (u @ u), abs=1e-9)


def test_beside_a_diverged_cell_the_best_cell_itself_is_taken():
    def cliff(u, v):
        return np.inf if v > 0.25 else (v - 0.2) ** 2

    best = valley.slope(surfaces.of(cliff, U, V)).best_y.values()
    np.testing.assert_allclose(list(best), 1)


def test_two_equal_lowest_cells_meet_in_the_middle():
    map_ = surfaces.of(lambda u, v: abs(v - 0.25), U, V)
    best = valley.slope(map_).best_y.values()
    np.testing.assert_allclose(np.log10(list(best)), 0.25)


def test_slope_of_fewer_than_two_points_is_undefined():
    plane = surfaces.of(lambda u, v: u - v, U, V)
    found = valley.slope(plane)
    assert found.value is None and not found.best_y
    assert set(found.left_out.values()) == {"edge"}
    one = surfaces.of(lambda u, v: v**2 + u**2, U, V)
    assert valley.slope(one, within=0).value is None


def test_fewer_than_three_weight_decays_are_refused():
    with pytest.raises(
        ValueError, match="at least three values of weight_decay. Received: 2"
    ):
        valley.slope(surfaces.of(lambda u, v: u + v, U, V[:2]))


@pytest.mark.parametrize("within", [-1, np.nan, "all"])
def test_bad_margins_are_refused(within):
    with pytest.raises(ValueError, match="`within` must be in"):
        valley.slope(surfaces.of(lambda u, v: u + v, U, V), within)
