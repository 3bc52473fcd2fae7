"""Gradients too large to be squared are skipped; vanishing ones do no harm."""

import keras
import numpy as np
import pytest
from keras import ops

import tfwd
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import table

BAD_STEP = 2
# Finite in float32, its square is not.
HUGE = 2e19
STABLE = [case for case in table.DEFAULT_CASES if case[1] == "stable"]


def with_huge(gradients):
    gradients[BAD_STEP] = [g.copy() for g in gradients[BAD_STEP]]
    gradients[BAD_STEP][0].flat[3] = HUGE
    return gradients


def without(gradients):
    missing = [None] * len(gradients[0])
    return [missing if t == BAD_STEP else g for t, g in enumerate(gradients)]


def number(variable):
    return int(ops.convert_to_numpy(variable))


@pytest.mark.parametrize(
    "case",
    table.abridged(
        [c for c in table.DEFAULT_CASES if c[0].cls.squares_gradients]
    ),
    ids=table.case_id,
)
def test_a_gradient_without_a_square_is_skipped_where_squares_are_kept(case):
    row, mode = case
    theta, gradients = harness.random_problem(6)
    optimizer = row.make(mode)
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), with_huge(gradients)
    )
    expected = row.expected(mode, theta, without(gradients))
    assert harness.relative_error(actual, expected) <= 1e-6
    assert number(optimizer.skipped_steps) == 1


@pytest.mark.parametrize("clip", ["clipnorm", "global_clipnorm"])
def test_clipping_by_a_norm_that_overflows_skips_the_step(clip):
    theta, gradients = harness.random_problem(4)
    row = table.Row("SGD", "sgd")
    optimizer = row.make("decoupled", **{clip: 1e6})
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), with_huge(gradients)
    )
    expected = row.expected("decoupled", theta, without(gradients))
    assert harness.relative_error(actual, expected) <= 1e-6
    assert number(optimizer.skipped_steps) == 1


def test_sgd_which_squares_nothing_takes_the_step():
    optimizer = tfwd.SGD(0.5, momentum=0.0)
    variable = keras.Variable([1.0, 2.0])
    harness.apply_all(optimizer, [variable], [[[HUGE, 1.0]]])
    np.testing.assert_allclose(
        ops.convert_to_numpy(variable), [-HUGE / 2, 1.5], rtol=1e-6
    )
    assert number(optimizer.skipped_steps) == 0


def test_squares_of_all_variables_are_summed_before_the_mean_overflows():
    """Each variable's squares are finite, those of both together are not."""
    variables = [keras.Variable([1.0]), keras.Variable([1.0])]
    optimizer = tfwd.AdamS(0.1, weight_decay=0.1)
    harness.apply_all(optimizer, variables, [[[1.5e19], [1.5e19]]])
    assert number(optimizer.skipped_steps) == 1
    np.testing.assert_array_equal(ops.convert_to_numpy(variables[0]), [1.0])


@pytest.mark.parametrize("case", STABLE, ids=table.case_id)
def test_decay_takes_weights_to_zero_where_gradients_vanish(case):
    """s grows as v̄ falls, for the decay is by then as large as a weight."""
    row, mode = case
    theta, gradients = harness.random_problem(5)
    gradients += [[0 * g for g in gradients[0]]] * 395
    optimizer = row.cls(
        1e-2, weight_decay=0.1, weight_decay_mode=mode, **row.constants
    )
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )
    start = np.concatenate([np.ravel(x) for x in theta])
    end = np.concatenate([np.ravel(x) for x in actual])
    assert np.all(np.isfinite(end))
    assert np.linalg.norm(end) <= np.linalg.norm(start)
    if number(optimizer.first_overshoot_step):
        assert np.linalg.norm(end) <= 1e-2 * np.linalg.norm(start)


def test_a_rate_above_one_leaves_the_step_alone():
    optimizer = tfwd.SGDW(2.0, weight_decay=5.0, momentum=0.0)
    variable = keras.Variable([3.0, -4.0])
    harness.apply_all(optimizer, [variable], [[[0.5, 0.25]]])
    np.testing.assert_allclose(
        ops.convert_to_numpy(variable), [-1.0, -0.5], rtol=1e-6
    )
    assert number(optimizer.first_overshoot_step) == 1


def test_offset_bounds_the_scale_where_there_is_no_gradient():
    """(0 + 1e-8)^(−½) = 1e4."""
    optimizer = tfwd.AdamS(1e-3, weight_decay=1e-2, second_moment_offset=1e-8)
    variable = keras.Variable([3.0, -4.0])
    harness.apply_all(optimizer, [variable], [[[0.0, 0.0]]])
    np.testing.assert_allclose(
        ops.convert_to_numpy(variable),
        np.array([3.0, -4.0]) * (1 - 1e-3 * 1e4 * 1e-2),
        rtol=1e-6,
    )


@pytest.mark.parametrize("cls", [tfwd.Adam, tfwd.Adai, tfwd.Yogi])
@pytest.mark.parametrize("clip", [{}, {"clipvalue": 1.0}, {"clipnorm": 1.0}])
def test_a_penalty_without_a_square_skips_the_step(cls, clip):
    """λθ = 2e20 has no square in float32, whatever the gradient."""
    optimizer = cls(0.1, weight_decay=1e20, weight_decay_mode="l2", **clip)
    variable = keras.Variable([2.0, -1.0])
    harness.apply_all(optimizer, [variable], [[[0.5, 0.25]]] * 2)
    assert number(optimizer.skipped_steps) == 2
    np.testing.assert_array_equal(ops.convert_to_numpy(variable), [2.0, -1.0])


@pytest.mark.parametrize("clip", ["clipvalue", "clipnorm", "global_clipnorm"])
@pytest.mark.parametrize("mode", ["l2", "decoupled"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_gradient_is_seen_before_it_is_clipped(clip, mode, bad):
    optimizer = tfwd.SGD(
        0.1, weight_decay=0.1, weight_decay_mode=mode, **{clip: 1.0}
    )
    variable = keras.Variable([2.0, -1.0])
    harness.apply_all(optimizer, [variable], [[[bad, 0.25]]])
    assert number(optimizer.skipped_steps) == 1
    np.testing.assert_array_equal(ops.convert_to_numpy(variable), [2.0, -1.0])


@pytest.mark.parametrize("cls", [tfwd.SGDS, tfwd.AdamW, tfwd.AdamS, tfwd.AdaiS])
def test_without_the_look_a_good_step_is_the_same_to_the_last_bit(cls):
    theta, gradients = harness.random_problem(5)
    looks, goes = (
        harness.apply_all(
            cls(0.1, weight_decay=0.1, skip_nonfinite=value),
            harness.make_variables(theta),
            gradients,
            # XLA rounds a product and a sum once or twice, as it likes.
            compiled=harness.BACKEND != "jax",
        )
        for value in (True, False)
    )
    for expected, actual in zip(looks, goes, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_without_the_look_what_is_not_finite_stays():
    optimizer = tfwd.AdamW(0.1, weight_decay=0.1, skip_nonfinite=False)
    variable = keras.Variable([2.0, -1.0])
    harness.apply_all(optimizer, [variable], [[[np.nan, 0.25]]])
    assert number(optimizer.skipped_steps) == 0
    values = ops.convert_to_numpy(variable)
    assert np.isnan(values[0]) and np.isfinite(values[1])


def test_k_fac_always_looks():
    with pytest.raises(ValueError, match="`skip_nonfinite` must be True"):
        tfwd.KFAC(skip_nonfinite=False)
