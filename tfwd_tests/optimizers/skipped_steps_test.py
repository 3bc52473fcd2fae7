"""A step whose gradient is not finite moves nothing, and is counted.

Covers `nonfinite_steps` and `conditional`.
"""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import tfwd
from tfwd.optimizers import finite
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import networks
from tfwd_tests.optimizers import table
from tfwd_tests.optimizers import transforms

BAD_STEP = 3
ROW = table.Row("AdamS", "adam")


def spoiled(gradients, step=BAD_STEP, value=np.nan):
    """Returns gradients of which one number in one step is not finite."""
    result = [[g.copy() for g in group] for group in gradients]
    result[step][1].flat[2] = value
    return result


def without(gradients, step=BAD_STEP):
    """Returns gradients of which there are none in one step."""
    return [
        [None] * len(group) if t == step else group
        for t, group in enumerate(gradients)
    ]


def skipped(optimizer):
    return int(ops.convert_to_numpy(optimizer.skipped_steps))


def values(variables):
    return [np.array(ops.convert_to_numpy(v)) for v in variables]


@pytest.mark.parametrize(
    "case", table.abridged(table.DEFAULT_CASES), ids=table.case_id
)
def test_steps_after_a_bad_one_are_those_of_a_run_without_it(case):
    """t counts the skipped step, in the reference as well."""
    row, mode = case
    theta, gradients = harness.random_problem(7)
    optimizer = row.make(mode)
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), spoiled(gradients)
    )
    expected = row.expected(mode, theta, without(gradients))
    assert harness.relative_error(actual, expected) <= 1e-6
    assert skipped(optimizer) == 1
    assert int(ops.convert_to_numpy(optimizer.iterations)) == 7


WAYS = [
    ({}, np.inf),
    ({}, -np.inf),
    ({"compiled": False}, np.nan),
    ({"xla": True} if harness.BACKEND == "tensorflow" else {}, np.nan),
]


@pytest.mark.parametrize(("way", "value"), WAYS)
def test_skipped_step_changes_no_variable_but_the_counters(way, value):
    theta, gradients = harness.random_problem(2)
    variables = harness.make_variables(theta)
    optimizer = tfwd.AMSGradS(0.01, weight_decay=0.1, use_ema=True)
    apply_all = functools.partial(harness.apply_all, optimizer, variables)
    apply_all(gradients[:1], **way)
    before, weights = values(optimizer.variables), values(variables)
    apply_all(spoiled(gradients, 1, value)[1:], **way)
    for one, other in zip(values(variables), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    changed = {
        variable.name
        for variable, old in zip(optimizer.variables, before, strict=True)
        if not np.array_equal(ops.convert_to_numpy(variable), old)
    }
    assert changed == {"iteration", "skipped_steps"}


@pytest.mark.parametrize("clip", transforms.CLIPS, ids=lambda clip: clip[0])
def test_infinity_is_seen_before_clipping_makes_it_a_bound(clip):
    name, bound, function = clip
    theta, gradients = harness.random_problem(7)
    optimizer = ROW.make("stable", **{name: bound})
    actual = harness.apply_all(
        optimizer,
        harness.make_variables(theta),
        spoiled(gradients, value=np.inf),
    )
    clipped = [function(group, bound) for group in gradients]
    expected = ROW.expected("stable", theta, without(clipped))
    assert harness.relative_error(actual, expected) <= 1e-6
    assert skipped(optimizer) == 1


@pytest.mark.parametrize("part", [3, 4, 5])
def test_bad_batch_spoils_only_the_accumulated_step_it_is_part_of(part):
    theta, gradients = harness.random_problem(9)
    optimizer = ROW.make("stable", gradient_accumulation_steps=3)
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), spoiled(gradients, part)
    )
    means = transforms.means_of_three(gradients)
    expected = ROW.expected("stable", theta, without(means, 1))
    assert harness.relative_error(actual, expected) <= 1e-6
    assert skipped(optimizer) == 1
    assert int(ops.convert_to_numpy(optimizer.iterations)) == 3


def averaged(theta, moved, momentum, every, bad):
    """Returns weights that their average overwrites, and the average."""
    average, weights = theta, theta
    for t, move in enumerate(moved):
        if t == bad:
            continue
        weights = weights + move
        beta = momentum if t else 0.0
        average = beta * average + (1 - beta) * weights
        if (t + 1) % every == 0:
            weights = average
    return weights, average


@pytest.mark.parametrize("bad", range(6))
def test_average_neither_moves_nor_overwrites_in_a_skipped_step(bad):
    """Where the first step is bad, the average starts at the weights."""
    theta = np.array([1.0, -2.0, 3.0])
    gradients = np.random.default_rng(0).normal(size=(6, 3))
    variable = keras.Variable(theta, dtype="float32")
    optimizer = tfwd.SGD(
        0.5,
        momentum=0.0,
        use_ema=True,
        ema_momentum=0.75,
        ema_overwrite_frequency=3,
    )
    steps = [[g.copy()] for g in gradients]
    steps[bad][0][1] = np.inf
    (actual,) = harness.apply_all(optimizer, [variable], steps)
    weights, average = averaged(theta, -0.5 * gradients, 0.75, 3, bad)
    np.testing.assert_allclose(actual, weights, rtol=1e-6)
    with pytest.warns(UserWarning, match="skipped 1 step"):
        optimizer.finalize_variable_values([variable])
    np.testing.assert_allclose(
        ops.convert_to_numpy(variable), average, rtol=1e-6
    )


def test_constraint_does_not_touch_the_weights_of_a_skipped_step():
    theta = np.random.default_rng(0).normal(size=(40, 3))
    variable = keras.Variable(theta, dtype="float32")
    variable.constraint = keras.constraints.MaxNorm(2.0)
    harness.apply_all(tfwd.SGD(), [variable], [[np.full((40, 3), np.nan)]])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(variable), theta.astype("float32")
    )
    harness.apply_all(tfwd.SGD(), [variable], [[np.zeros((40, 3))]])
    norms = np.linalg.norm(ops.convert_to_numpy(variable), axis=0)
    np.testing.assert_allclose(norms, [2.0] * 3, rtol=1e-6)


def test_bad_batch_of_fit_is_skipped_and_told_in_the_summary():
    optimizer = tfwd.SGD(0.5, momentum=0.0)
    model = networks.linear_model(optimizer)
    x = np.ones((6, 2), "float32")
    x[3] = np.nan
    with pytest.warns(UserWarning, match="skipped 1 step: a gradient"):
        model.fit(x, np.zeros(6), batch_size=2, shuffle=False, verbose=0)
    np.testing.assert_array_equal(
        model.get_weights()[0], [[1.0 - 2 * 0.5], [-2.0 - 2 * 0.5]]
    )
    lines = []
    optimizer.weight_decay_summary(lines.append)
    assert "\n1 step skipped (a gradient, or " in lines[0]
    assert "`tfwd.SkippedSteps`" in lines[0]


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ([[1.0, -2.0], [[3.0]]], True),
        ([[1.0, np.nan], [[3.0]]], False),
        ([[1.0, 2.0], [[-np.inf]]], False),
        ([[np.inf, -np.inf]], False),
        ([[1e38, -1e38, 1e38]], True),
        # Documented: the sum of these overflows.
        ([[3e38, 3e38]], False),
    ],
)
def test_one_number_that_is_not_finite_is_found(tensors, expected):
    tensors = [ops.convert_to_tensor(t, dtype="float32") for t in tensors]
    assert bool(finite.all_finite(tensors)) == expected


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_does_not_overflow_in_the_sum(dtype):
    tensor = ops.full((4,), 6e4, dtype=dtype)
    assert bool(finite.all_finite([tensor]))
