"""Every optimizer in every mode against numpy, written from the papers."""

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import reference
from tfwd_tests.optimizers import table

STEPS = 50
FACTORS = (1.0, 0.0, 0.5)


def run(row, mode, dtype, gradients, theta, compiled=True, xla=False):
    rate, factor, _, _ = table.schedules(row.learning_rate, STEPS)
    optimizer = row.cls(
        rate,
        weight_decay=table.WEIGHT_DECAY,
        weight_decay_mode=mode,
        weight_decay_schedule=factor,
        weight_decay_multipliers={"^embeddings$": 0.5},
        exclude_from_weight_decay=["^bias$"],
        **row.constants,
    )
    variables = harness.make_variables(theta, dtype)
    return harness.apply_all(optimizer, variables, gradients, compiled, xla)


def expected(row, mode, gradients, theta):
    _, _, rates, decays = table.schedules(row.learning_rate, STEPS)
    return reference.train(
        row.algorithm,
        mode,
        theta,
        gradients,
        rates,
        decays,
        factors=FACTORS,
        **row.constants,
    )


@pytest.mark.parametrize("case", table.CASES, ids=table.case_id)
def test_update_equals_the_paper_in_float32(case):
    theta, gradients = harness.random_problem(STEPS)
    theta = [np.float32(x) for x in theta]
    gradients = [[np.float32(g) for g in step] for step in gradients]
    actual = run(*case, "float32", gradients, theta)
    error = harness.relative_error(actual, expected(*case, gradients, theta))
    assert error <= 2e-6


@pytest.mark.parametrize("case", table.CASES, ids=table.case_id)
def test_update_equals_the_paper_in_float64(case):
    theta, gradients = harness.random_problem(STEPS)
    with harness.float64():
        actual = run(*case, "float64", gradients, theta)
    error = harness.relative_error(actual, expected(*case, gradients, theta))
    assert error <= 1e-12


@pytest.mark.parametrize("case", table.DEFAULT_CASES, ids=table.case_id)
def test_variable_without_gradient_in_alternating_steps_rests(case):
    theta, gradients = harness.random_problem(20)
    theta = [np.float32(x) for x in theta]
    gradients = [
        [
            None if i == 2 and t % 2 else np.float32(g)
            for i, g in enumerate(step)
        ]
        for t, step in enumerate(gradients)
    ]
    row, mode = case
    optimizer = row.make(mode)
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )
    truth = row.expected(mode, theta, gradients)
    assert harness.relative_error(actual, truth) <= 2e-6


def results_without_decay(row, modes, compiled):
    theta, gradients = harness.random_problem(10)
    results = []
    for mode in modes:
        optimizer = row.cls(0.01, weight_decay_mode=mode, **row.constants)
        variables = harness.make_variables(theta)
        results.append(
            harness.apply_all(optimizer, variables, gradients, compiled)
        )
    return results


def assert_all_identical(results):
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("row", table.ROWS, ids=lambda r: r.name + r.label)
def test_modes_are_bit_identical_without_decay(row):
    modes = row.cls.weight_decay_modes
    assert_all_identical(results_without_decay(row, modes, compiled=False))


@pytest.mark.parametrize("row", table.ROWS, ids=lambda r: r.name + r.label)
def test_compiled_modes_are_bit_identical_without_decay(row):
    """L2 apart on JAX: XLA rounds θ − a·b once where no decay is added."""
    modes = row.cls.weight_decay_modes
    if harness.BACKEND == "jax":
        modes = [mode for mode in modes if mode != "l2"]
    assert_all_identical(results_without_decay(row, modes, compiled=True))


@pytest.mark.parametrize("case", table.DEFAULT_CASES, ids=table.case_id)
def test_update_is_the_same_eager_and_compiled_by_xla(case):
    theta, gradients = harness.random_problem(STEPS)
    eager = run(*case, "float32", gradients, theta, compiled=False)
    xla = run(*case, "float32", gradients, theta, compiled=True, xla=True)
    truth = expected(*case, gradients, theta)
    assert harness.relative_error(eager, truth) <= 2e-6
    assert harness.relative_error(xla, truth) <= 2e-6


def test_every_public_optimizer_has_a_row_and_every_row_a_mode():
    public = {
        name
        for name in tfwd.__all__
        if isinstance(getattr(tfwd, name), type)
        and issubclass(getattr(tfwd, name), keras.optimizers.Optimizer)
    }
    assert public == {row.name for row in table.ROWS}
    assert public == {
        cls.__name__ for cls in tfwd.optimizers.OPTIMIZERS.values()
    }
