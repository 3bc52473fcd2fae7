"""The best cell, its distance from the edge, and a default's regret."""

import numpy as np
import pytest

from tfwd.tuning.maps import grid
from tfwd.tuning.maps import optimum
from tfwd_tests.tuning import surfaces

U, V = np.linspace(-4, -1, 7), np.linspace(-5, -2, 4)


def bowl(u, v):
    return 3 + (u + 2) ** 2 + 2 * (v + 4) ** 2


def test_best_cell_is_the_lowest_of_the_grid():
    best = optimum.best_cell(surfaces.of(bowl, U, V))
    assert (best.x, best.y, best.index) == (1e-2, 1e-4, (4, 1))
    assert best.objective == pytest.approx(3)
    assert best.seeds == 1


def test_best_cell_by_the_mean_is_not_the_luckiest_seed():
    def lucky(u, v, seed):
        return bowl(u, v) - (9 if (u, v, seed) == (U[0], V[0], 0) else 0)

    rows = surfaces.trials(lucky, U, V, seeds=8)
    best = optimum.best_cell(grid.from_trials(rows, surfaces.X, surfaces.Y))
    assert best.index == (4, 1) and best.seeds == 8


def test_map_of_diverged_trials_alone_has_no_best_cell():
    with pytest.raises(ValueError, match="without a diverged trial"):
        optimum.best_cell(surfaces.of(lambda u, v: np.inf, U, V))


def test_distances_from_the_four_sides_are_in_cells_and_decades():
    distances = optimum.edge_distances(surfaces.of(bowl, U, V))
    found = {
        side: (to.cells, round(to.decades, 9)) for side, to in distances.items()
    }
    assert found == {
        "lowest learning_rate": (4, 2.0),
        "highest learning_rate": (2, 1.0),
        "lowest weight_decay": (1, 1.0),
        "highest weight_decay": (2, 2.0),
    }


@pytest.mark.parametrize(
    ("signs", "sides"),
    [
        ((0, 1), "lowest weight_decay"),
        ((0, -1), "highest weight_decay"),
        ((-1, 1), "highest learning_rate and lowest weight_decay"),
    ],
)
def test_best_cell_on_the_edge_is_warned_of_by_its_sides(signs, sides):
    a, b = signs
    plane = surfaces.of(lambda u, v: a * u + b * v + (a == 0) * u**2, U, V)
    with pytest.warns(UserWarning, match=f"on the edge of the grid: .*{sides}"):
        distances = optimum.edge_distances(plane)
    for side in sides.split(" and "):
        assert distances[side].cells == distances[side].decades == 0
    assert optimum.edge_distances(plane, warn=False) == distances


def test_regret_of_a_tuned_default_is_zero():
    assert optimum.regret(surfaces.of(bowl, U, V), 1e-4) == 0


@pytest.mark.parametrize("place", [-5, -4.75, -3.5, -3, -2.1, -2])
def test_regret_is_linear_in_log_lambda_between_columns(place):
    # The best η leaves 2 (v + 4)², whose chord between whole v is known.
    low = np.floor(place)
    share = place - low
    chord = 2 * (1 - share) * (low + 4) ** 2 + 2 * share * (low + 5) ** 2
    found = optimum.regret(surfaces.of(bowl, U, V), 10.0**place)
    assert found == pytest.approx(chord, abs=1e-9)


def test_regret_tunes_the_learning_rate_at_the_default():
    # On the valley u + v = −6 every λ is as good, at its own η.
    valley = surfaces.of(lambda u, v: (u + v + 6) ** 2, U, V)
    assert optimum.regret(valley, 1e-5) == pytest.approx(0, abs=1e-12)
    assert optimum.regret(valley, 1e-3) == pytest.approx(0, abs=1e-12)


def test_regret_is_infinite_where_every_neighbour_diverged():
    map_ = surfaces.of(lambda u, v: np.inf if v > -3.5 else bowl(u, v), U, V)
    assert optimum.regret(map_, 10**-3.5) == np.inf
    assert optimum.regret(map_, 10**-4.5) == pytest.approx(1)


def test_regret_of_equal_cells_is_zero_and_never_below():
    flat = surfaces.of(lambda u, v: 0.1, U, V)
    for place in np.linspace(-5, -2, 50):
        assert optimum.regret(flat, 10**place) == 0


@pytest.mark.parametrize("default", [0, 9e-6, 0.1, np.nan, "best"])
def test_default_outside_of_the_grid_is_refused(default):
    with pytest.raises(ValueError, match=r"`default` must be in \[1e-05, 0.01"):
        optimum.regret(surfaces.of(bowl, U, V), default)
