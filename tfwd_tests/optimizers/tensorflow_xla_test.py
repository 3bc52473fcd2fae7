"""The updates under TensorFlow's `jit_compile=True` are those of the papers."""

import re

import keras
import pytest
import tensorflow as tf

import tfwd
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


@pytest.mark.parametrize(
    "optimizer",
    [tfwd.AdamW, tfwd.AdamS, tfwd.SGD, tfwd.SGDS, tfwd.AMSGradS, tfwd.AdaiS],
)
def test_a_compiled_step_neither_copies_nor_branches_on_variables(optimizer):
    """XLA copies a variable whose old value is read after the new one stands.

    The only branch left sums the squares of the gradients where their bound is
    not finite, and yields a boolean.
    """
    optimizer = optimizer(0.1, weight_decay=0.1)
    variables = [keras.Variable(keras.random.normal((96, 64)))]
    gradients = [keras.random.normal((96, 64))]
    optimizer.build(variables)

    @tf.function(jit_compile=True)
    def update(gradients):
        optimizer.apply(gradients, variables)

    program = update.experimental_get_compiler_ir(gradients)(
        stage="optimized_hlo"
    )
    assert "f32[96,64]" in program
    assert not re.findall(r"= f32\[96,64\]\S* copy\(.*", program)
    branches = re.findall(r"= (\S+) conditional\(", program)
    assert set(branches) <= {"(pred[])", "pred[]"}
