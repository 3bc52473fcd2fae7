"""Every optimizer in every mode against numpy, written from the papers.

Covers `base`, `sgd`, `adam`, `amsgrad`, `adai`, `adabound`, `padam`, `radam`,
`yogi`, `initial_values` and `moments`.
"""

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests import marks
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import reference
from tfwd_tests.optimizers import table

STEPS = 50
FACTORS = (1.0, 0.0, 0.5)


def run(row, mode, dtype, gradients, theta, compiled=True):
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
    return harness.apply_all(optimizer, variables, gradients, compiled)


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


@pytest.mark.parametrize("case", table.abridged(table.CASES), ids=table.case_id)
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


@pytest.mark.parametrize(
    "case", table.abridged(table.DEFAULT_CASES), ids=table.case_id
)
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


FAMILIES = {
    row.name + row.label: row for row in table.ROWS if row.name == row.family
}


def families(*kept):
    """Returns the names of all, those that are kept running on JAX too."""
    return [
        *kept,
        *marks.many(*(each for each in FAMILIES if each not in kept)),
    ]


def results_without_decay(row, compiled):
    """Runs a family in all its modes, and its classes of a single mode."""
    theta, gradients = harness.random_problem(10)
    variants = [(row.cls, mode) for mode in row.cls.weight_decay_modes]
    variants += [
        (leaf.cls, leaf.cls.weight_decay_modes[0])
        for leaf in table.ROWS
        if leaf.family == row.name != leaf.name
    ]
    results = []
    for cls, mode in variants:
        optimizer = cls(0.01, weight_decay_mode=mode, **row.constants)
        variables = harness.make_variables(theta)
        results.append(
            harness.apply_all(optimizer, variables, gradients, compiled)
        )
    return results


def assert_all_identical(results):
    assert len(results) > 1
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", families("SGD", "SGDvanilla"))
def test_modes_are_bit_identical_without_decay(name):
    assert_all_identical(results_without_decay(FAMILIES[name], compiled=False))


@pytest.mark.parametrize("name", families("SGD"))
def test_compiled_modes_are_bit_identical_without_decay(name):
    assert_all_identical(results_without_decay(FAMILIES[name], compiled=True))


@pytest.mark.parametrize(
    "case", table.abridged(table.DEFAULT_CASES), ids=table.case_id
)
def test_eager_update_equals_the_paper_too(case):
    theta, gradients = harness.random_problem(STEPS)
    eager = run(*case, "float32", gradients, theta, compiled=False)
    truth = expected(*case, gradients, theta)
    assert harness.relative_error(eager, truth) <= 2e-6


def test_every_public_optimizer_has_a_row_and_every_row_a_mode():
    public = {
        name
        for name in tfwd.__all__
        if isinstance(getattr(tfwd, name), type)
        and issubclass(getattr(tfwd, name), keras.optimizers.Optimizer)
    }
    # K-FAC needs a model; its rule is tested in tfwd_tests/kfac.
    first_order = public - set(tfwd.kfac.__all__)
    assert first_order == {row.name for row in table.ROWS}
    assert first_order == {
        cls.__name__ for cls in tfwd.optimizers.OPTIMIZERS.values()
    }
