"""The updates under TensorFlow's `jit_compile=True` are those of the papers."""

import pytest

from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import table


@pytest.mark.parametrize("case", table.abridged(table.CASES), ids=table.case_id)
def test_update_compiled_by_xla_equals_the_paper(case):
    row, mode = case
    theta, gradients = harness.random_problem(50)
    variables = harness.make_variables(theta)
    actual = harness.apply_all(row.make(mode), variables, gradients, xla=True)
    expected = row.expected(mode, theta, gradients)
    assert harness.relative_error(actual, expected) <= 2e-6
