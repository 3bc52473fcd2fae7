"""Trials become cells: which count, what their mean is, what is refused."""

import numpy as np
import pytest

from tfwd.tuning.maps import basin
from tfwd.tuning.maps import grid
from tfwd.tuning.maps import optimum
from tfwd.tuning.maps import valley
from tfwd_tests.tuning import surfaces

U, V = range(-3, 0), range(-5, -2)
ROWS = surfaces.trials(lambda u, v, seed: u + 10 * v + seed, U, V, seeds=2)


def made(rows, **arguments):
    return grid.from_trials(rows, surfaces.X, surfaces.Y, **arguments)


def changed(place, **values):
    return [*ROWS[:place], ROWS[place] | values, *ROWS[place + 1 :]]


def test_cells_are_sorted_and_hold_the_mean_over_seeds():
    shuffled = [ROWS[i] for i in np.random.default_rng(0).permutation(18)]
    result = made(shuffled)
    np.testing.assert_allclose(result.log_x, U)
    np.testing.assert_allclose(result.log_y, V)
    expected = np.add.outer(U, 10 * np.array(V)) + 0.5
    np.testing.assert_allclose(result.means(), expected)


def test_values_that_differ_by_rounding_alone_are_one_row():
    exact = ROWS[0]["learning_rate"]
    rows = changed(1, learning_rate=exact * (1 + 1e-15))
    assert rows[1]["learning_rate"] != exact
    result = made(rows)
    assert result.results.shape == (3, 3, 2)
    assert result.x_values[0] == exact


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize(
    "worst",
    [
        {"status": "diverged", "objective": None},
        {"objective": np.nan},
        {"objective": np.inf},
        {"objective": -np.inf},
    ],
    ids=str,
)
def test_one_diverged_seed_makes_its_cell_infinitely_bad(worst, maximize):
    means = made(changed(1, **worst), maximize=maximize).means()
    assert means[0, 0] == np.inf
    assert np.isfinite(np.delete(means.ravel(), 0)).all()


def test_trials_of_another_status_are_left_out():
    result = made(changed(1, status="failed", objective=None))
    assert result.counts[0, 0] == 1
    assert result.means()[0, 0] == ROWS[0]["objective"]


def test_maximizing_finds_what_minimizing_the_negative_does():
    negative = [row | {"objective": -row["objective"]} for row in ROWS]
    best = optimum.best_cell(made(ROWS))
    highest = optimum.best_cell(made(negative, maximize=True))
    assert highest.index == best.index
    assert highest.objective == -best.objective


def test_resample_draws_from_the_seeds_of_each_cell_and_never_the_padding():
    original = made(changed(1, status="failed"))
    generator = np.random.default_rng(0)
    seen = [original.resampled(generator).results for _ in range(200)]
    assert {each[0, 0, 0] for each in seen} == {original.results[0, 0, 0]}
    drawn = {tuple(each[1, 1]) for each in seen}
    first, second = original.results[1, 1]
    assert drawn == {(a, b) for a in (first, second) for b in (first, second)}
    # Cells are drawn by themselves.
    firsts = np.array(seen)[:, 1:, :, 0].reshape(200, -1)
    assert np.abs(np.corrcoef(firsts.T) - np.eye(6)).max() < 0.3


def test_hole_is_named_by_what_needs_a_full_grid_and_passed_over_by_the_rest():
    result = made(ROWS[2:])
    assert optimum.best_cell(result).index == (1, 0)
    message = r"none in 1 of 9: \(0.001, 1e-05\)$"
    for measure in (
        valley.slope,
        lambda g: basin.basin(g, threshold=0),
        lambda g: optimum.regret(g, 1e-4),
    ):
        with pytest.raises(ValueError, match=message):
            measure(result)


def test_many_holes_are_named_in_part():
    diagonal = [row for i, row in enumerate(ROWS) if i // 2 in (0, 4, 8)]
    with pytest.raises(ValueError, match=r"none in 6 of 9: .*\), …$"):
        made(diagonal).check_has_no_holes()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "`trials` must have a row per trial"),
        ([{"seed": 0}], "must have the column learning_rate"),
        (changed(0, learning_rate=None), "`learning_rate` must be in"),
        (changed(0, weight_decay=0), "`weight_decay` must be in"),
        (changed(0, weight_decay="auto"), "`weight_decay` must be in"),
        (changed(0, objective="low"), "`objective` of a completed trial"),
        (changed(0, objective=None), "`objective` of a completed trial"),
        (ROWS[:6], "two values of learning_rate"),
        (ROWS[::6], "two values of weight_decay"),
        ([*ROWS, ROWS[3]], "Received: two rows of seed=1, learning_rate=0.001"),
        (
            [row | {"status": "failed"} for row in ROWS],
            "Received: status=failed alone",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_trials_are_refused_in_one_line(rows, message):
    with pytest.raises(ValueError, match=message) as error:
        made(rows)
    assert "\n" not in str(error.value) and "Received: " in str(error.value)


def test_axes_must_be_two_and_the_direction_a_boolean():
    with pytest.raises(ValueError, match="`x` and `y` must be two columns"):
        grid.from_trials(ROWS, surfaces.X, surfaces.X)
    with pytest.raises(ValueError, match="`maximize` must be True or False"):
        made(ROWS, maximize="no")
