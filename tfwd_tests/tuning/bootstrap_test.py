"""Intervals over seeds: against theory, and when there is none."""

import numpy as np
import pytest

from tfwd.tuning.maps import bootstrap
from tfwd.tuning.maps import grid
from tfwd.tuning.maps import optimum
from tfwd.tuning.maps import valley
from tfwd_tests.tuning import surfaces


def flat(u, v):
    return 0.0


def mean_of(grid):
    return float(grid.means().mean())


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    # 25 cells of 40 seeds with deviation 2: the mean of all has the deviation
    # 2/√1000, its interval the half-width 1.96 times that; 4000 resamples know
    # it to about 3 %, and the sample knows its own deviation to 2 %.
    map_ = surfaces.noisy(flat, range(5), range(5), seeds=40, deviation=2)
    found = bootstrap.interval(map_, mean_of, resamples=4000)
    half = 1.96 * 2 / np.sqrt(1000)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.08)
    assert (found.high + found.low) / 2 == pytest.approx(
        mean_of(map_), abs=0.05 * half
    )


def test_interval_holds_the_true_slope_about_as_often_as_it_says():
    bowl = surfaces.rotated(np.radians(-45), short=1, long=0.05)
    b, c = 0.95 / 2, 1.05 / 2
    axis = np.arange(-2, 2.1, 1)
    hits = []
    for seed in range(60):
        map_ = surfaces.noisy(bowl, axis, 2 * axis, 8, deviation=0.1, seed=seed)
        found = bootstrap.interval(
            map_,
            lambda g: valley.slope(g).value,
            resamples=200,
            confidence=0.8,
        )
        hits.append(found.low <= -b / c <= found.high)
    # The deviation of the share is √(0.8 · 0.2/60) = 0.05; a bootstrap of
    # eight seeds is a little too narrow.
    assert 0.6 <= np.mean(hits) <= 0.95


def test_one_seed_per_cell_gives_no_interval():
    map_ = surfaces.noisy(flat, range(3), range(3), seeds=1)
    assert bootstrap.interval(map_, mean_of) is None


def test_equal_seeds_give_an_interval_without_width():
    map_ = surfaces.noisy(flat, range(3), range(3), seeds=3, deviation=0)
    found = bootstrap.interval(map_, mean_of)
    assert (found.low, found.high, found.undefined) == (0, 0, 0)


def test_interval_is_a_function_of_the_seed():
    map_ = surfaces.noisy(flat, range(3), range(3), seeds=3)
    first, again, other = (
        bootstrap.interval(map_, mean_of, resamples=50, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_more_confidence_gives_a_wider_interval():
    map_ = surfaces.noisy(flat, range(3), range(3), seeds=3)
    ends = [
        bootstrap.interval(map_, mean_of, confidence=share)
        for share in (0.5, 0.8, 0.99)
    ]
    widths = [each.high - each.low for each in ends]
    assert widths == sorted(widths) and widths[0] < widths[-1]


def test_resamples_without_a_value_are_left_out_and_counted():
    map_ = surfaces.noisy(flat, range(3), range(3), seeds=3)

    def positive(grid):
        return mean_of(grid) if mean_of(grid) > mean_of(map_) else None

    found = bootstrap.interval(map_, positive)
    assert 300 < found.undefined < 700 and found.low > mean_of(map_)
    assert bootstrap.interval(map_, lambda grid: None) is None


def test_infinite_values_are_ends_of_an_interval():
    # Of two seeds one diverged in all but the best cell: a quarter of the
    # resamples has neither of the two that did.
    def function(u, v, seed):
        return np.inf if (v == 1 and seed) else u + v

    rows = surfaces.trials(function, [0, 1], [0, 1], seeds=2)
    map_ = grid.from_trials(rows, surfaces.X, surfaces.Y)
    assert optimum.regret(map_, 10) == np.inf
    found = bootstrap.interval(map_, lambda g: optimum.regret(g, 10))
    assert (found.low, found.high) == (1, np.inf)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resamples", 0),
        ("resamples", 10.5),
        ("confidence", 1),
        ("confidence", 95),
        ("seed", -1),
    ],
)
def test_bad_arguments_are_refused(name, value):
    map_ = surfaces.noisy(flat, range(3), range(3), seeds=2)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        bootstrap.interval(map_, mean_of, **{name: value})
