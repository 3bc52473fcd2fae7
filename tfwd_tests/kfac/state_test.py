"""What is kept between steps: averages in numpy, failures one by one.

Covers `curvature`.
"""

import keras
import numpy as np
import pytest
from keras import ops

import tfwd
from tfwd.kfac import backend
from tfwd.kfac import curvature
from tfwd.kfac import failures
from tfwd.kfac import registration
from tfwd.kfac import state as state_lib
from tfwd_tests.kfac import compiling
from tfwd_tests.optimizers import harness

SHAPES = (((4, 4), (3, 3)), ((6,), (3, 3)), ((5, 2, 2),))
DAMPING = 0.02
# Ten roundings of float32.
TOLERANCE = 1e-6


def made(mode="factored", dtype="float32", shapes=SHAPES):
    records = [
        registration.Record(f"layer_{i}", "dense", (i,), s, dtype)
        for i, s in enumerate(shapes)
    ]
    optimizer = tfwd.SGD()
    return state_lib.CurvatureState(
        optimizer.add_variable,
        records,
        mode,
        failures.Failures(optimizer.add_variable, optimizer.skipped_steps),
    )


def random_factors(generator, dtype="float32"):
    """Positive definite, or diagonals, of `SHAPES`."""
    blocks = []
    for shapes in SHAPES:
        factors = []
        for shape in shapes:
            rows = generator.normal(size=(*shape[:-1], 3 * shape[-1]))
            if len(shape) == 1:
                factors.append(generator.uniform(size=shape))
            else:
                factors.append(rows @ np.swapaxes(rows, -1, -2) / shape[-1])
        blocks.append([f.astype(dtype) for f in factors])
    return blocks


def estimates_of(blocks, positions=1):
    return [
        curvature.Estimate(
            tuple(ops.convert_to_tensor(f) for f in factors), positions
        )
        for factors in blocks
    ]


def numpy(tensors):
    return [ops.convert_to_numpy(tensor) for tensor in tensors]


def values(state):
    return [numpy(kept) for kept in state.inverses]


def counters(state):
    return {
        name: int(ops.convert_to_numpy(counter))
        for name, counter in state.failures.counters.items()
        if int(ops.convert_to_numpy(counter))
    }


def accumulate(state, blocks, decay=0.9, share=0.1, **arguments):
    state.accumulate(estimates_of(blocks, **arguments), decay, share)


def refresh(state, units=None, dtype="float32"):
    units = range(len(state.units)) if units is None else units
    owners = (0,) * len(state.units)
    damping = ops.convert_to_tensor(DAMPING, dtype=dtype)
    state.refresh(tuple(units), owners, damping)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.95])
def test_factors_are_the_debiased_average_of_all_batches(decay):
    generator = np.random.default_rng(0)
    batches = [random_factors(generator) for _ in range(7)]
    state = made()
    for count, batch in enumerate(batches, start=1):
        accumulate(state, batch, decay, 1 - decay)
        # Each batch weighs ρ^age of the newest one; the weights sum to 1.
        weights = decay ** np.arange(count - 1, -1, -1.0)
        weights /= weights.sum()
        for number in range(len(SHAPES)):
            for factor, actual in enumerate(numpy(state.debiased(number))):
                expected = sum(
                    weight * past[number][factor]
                    for weight, past in zip(weights, batches, strict=False)
                )
                np.testing.assert_allclose(
                    actual, expected, rtol=TOLERANCE, atol=TOLERANCE
                )
    assert counters(state) == {}


def test_factors_are_a_plain_average_if_the_shares_are_so():
    generator = np.random.default_rng(0)
    batches = [random_factors(generator) for _ in range(5)]
    state = made()
    for count, batch in enumerate(batches):
        share = 1.0 / (count + 1.0)
        accumulate(state, batch, 1 - share, share)
    for number in range(len(SHAPES)):
        for factor, actual in enumerate(numpy(state.debiased(number))):
            expected = np.mean([b[number][factor] for b in batches], axis=0)
            np.testing.assert_allclose(
                actual, expected, rtol=TOLERANCE, atol=TOLERANCE
            )
    np.testing.assert_allclose(numpy([state.weights])[0], 1.0, rtol=1e-6)


def test_without_a_batch_factors_are_zero_and_not_undefined():
    state = made()
    for number in range(len(SHAPES)):
        for factor in numpy(state.debiased(number)):
            np.testing.assert_array_equal(factor, 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("first", [True, False])
def test_statistics_that_are_not_finite_are_dropped_layer_by_layer(bad, first):
    generator = np.random.default_rng(0)
    good, spoiled = (random_factors(generator) for _ in range(2))
    state, expected = made(), made()
    if not first:
        accumulate(state, good)
        accumulate(expected, good)
    accumulate(expected, spoiled)
    kept = numpy(state.debiased(1))
    # G of the second block alone: its A must not be mixed in either.
    spoiled[1][1][0, 2] = bad
    accumulate(state, spoiled)
    for actual, old in zip(numpy(state.debiased(1)), kept, strict=True):
        np.testing.assert_array_equal(actual, old)
    for number in (0, 2):
        for actual, other in zip(
            numpy(state.debiased(number)),
            numpy(expected.debiased(number)),
            strict=True,
        ):
            np.testing.assert_array_equal(actual, other)
    assert counters(state) == {"dropped_statistics": 1}


def test_dropped_statistics_weigh_nothing_afterwards():
    """The average is then that of the other batches."""
    generator = np.random.default_rng(0)
    one, other = (random_factors(generator) for _ in range(2))
    spoiled = [[np.full_like(f, np.nan) for f in factors] for factors in one]
    state, expected = made(), made()
    for batch in (one, spoiled, other):
        accumulate(state, batch)
    for batch in (one, other):
        accumulate(expected, batch)
    for number in range(len(SHAPES)):
        for actual, truth in zip(
            numpy(state.debiased(number)),
            numpy(expected.debiased(number)),
            strict=True,
        ):
            np.testing.assert_array_equal(actual, truth)
    assert counters(state) == {"dropped_statistics": 3}


def test_positions_are_those_of_the_last_batch():
    state = made()
    np.testing.assert_array_equal(numpy([state.positions])[0], [1, 1, 1])
    accumulate(state, random_factors(np.random.default_rng(0)), positions=9)
    np.testing.assert_array_equal(numpy([state.positions])[0], [9, 9, 9])


@pytest.mark.parametrize("mode", ["factored", "eigen"])
@pytest.mark.parametrize("of_damping", ["float32", "float64"])
def test_what_is_kept_has_the_type_and_shapes_of_the_factors(mode, of_damping):
    """λ is a float32 where Keras' floatx is and the model has its own type."""
    with harness.float64():
        state = made(mode, "float64")
        accumulate(state, random_factors(np.random.default_rng(0), "float64"))
        refresh(state, dtype=of_damping)
        expected = [unit.state_shapes(mode) for unit in state.units]
        kept = values(state)
    assert [tuple(v.shape for v in unit) for unit in kept] == expected
    assert {v.dtype for unit in kept for v in unit} == {np.dtype("float64")}
    assert [len(state.inverses_of(block)) for block in range(3)] == [2, 2, 1]


@pytest.mark.parametrize("way", compiling.WAYS)
def test_inverses_are_those_of_the_debiased_factors(way):
    state = made()
    blocks = random_factors(np.random.default_rng(0))
    accumulate(state, blocks, 0.95, 0.05)

    if way == "jit":
        run = backend.current.compiled(
            lambda: refresh(state), lambda: variables_of(state), None
        )
        run()
    else:
        compiling.run(way, lambda: refresh(state))
    a, g = (f.astype("float64") for f in blocks[0])
    pi = np.sqrt(np.trace(a) / 4 / (np.trace(g) / 3))
    kept_a, kept_g = (numpy(kept)[0] for kept in state.inverses_of(0))
    for kept, factor, added in (
        (kept_a, a, pi * np.sqrt(DAMPING)),
        (kept_g, g, np.sqrt(DAMPING) / pi),
    ):
        truth = np.linalg.inv(factor + added * np.eye(len(factor)))
        np.testing.assert_allclose(
            kept, truth, rtol=0, atol=1e-4 * np.abs(truth).max()
        )
    ((kept_f,),) = map(numpy, state.inverses_of(2))
    truth = np.linalg.inv(blocks[2][0] + DAMPING * np.eye(2))
    np.testing.assert_allclose(
        kept_f, truth, rtol=0, atol=1e-4 * np.abs(truth).max()
    )
    assert counters(state) == {}
    assert int(ops.convert_to_numpy(state.refreshes)) == 1


def variables_of(state):
    factors = [v for block in state.factors for v in block]
    inverses = [v for unit in state.inverses for v in unit]
    return [
        *factors,
        *inverses,
        state.weights,
        state.positions,
        state.refreshes,
        *state.failures.counters.values(),
    ]


def test_only_the_units_asked_for_are_refreshed():
    state = made()
    generator = np.random.default_rng(0)
    accumulate(state, random_factors(generator))
    refresh(state)
    before = values(state)
    accumulate(state, random_factors(generator))
    refresh(state, (1, 4))
    changed = [
        not np.array_equal(old[0], new[0])
        for old, new in zip(before, values(state), strict=True)
    ]
    assert changed == [False, True, False, False, True]
    assert int(ops.convert_to_numpy(state.refreshes)) == 2


@pytest.mark.parametrize("mode", ["factored", "eigen"])
def test_an_inversion_that_fails_for_good_keeps_the_last_inverse(mode):
    state = made(mode)
    generator = np.random.default_rng(0)
    accumulate(state, random_factors(generator))
    refresh(state)
    before = values(state)
    accumulate(state, random_factors(generator))
    # Past `accumulate`, which would have dropped it. Of A and G of the first
    # block both fail: the damping of each is by the traces of both.
    state.factors[0][0].assign(np.full((4, 4), np.nan))
    refresh(state)
    after = values(state)
    failing = 2 if mode == "factored" else 1
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        for one, other in zip(old, new, strict=True):
            assert np.all(np.isfinite(other))
            assert np.array_equal(one, other) == (number < failing)
    assert counters(state) == {
        "retried_inverses": failing,
        "kept_inverses": failing,
    }


def test_a_repeated_inversion_is_counted_and_used():
    state = made()
    accumulate(state, random_factors(np.random.default_rng(0)))
    refresh(state)
    before = values(state)
    weight = numpy([state.weights])[0][2]
    f = np.stack([np.diag([1.0, -3 * DAMPING])] * 5)
    state.factors[2][0].assign((weight * f).astype("float32"))
    refresh(state)
    after = values(state)
    assert counters(state) == {"retried_inverses": 1}
    assert not np.array_equal(before[4][0], after[4][0])
    added = 10 * DAMPING + 1e-6 * (1 - 3 * DAMPING)
    np.testing.assert_allclose(
        after[4][0], np.linalg.inv(f + added * np.eye(2)), rtol=1e-5, atol=1e-6
    )


def test_counters_add_up():
    state = made()
    flags = ops.convert_to_tensor([True, False, True])
    state.failures.add("kept_inverses", flags)
    state.failures.add("kept_inverses", ops.convert_to_tensor(True))
    assert counters(state) == {"kept_inverses": 3}
    for counter in state.failures.counters.values():
        assert keras.backend.is_int_dtype(counter.dtype)
