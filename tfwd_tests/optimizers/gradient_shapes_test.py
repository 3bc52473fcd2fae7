"""Gradients of other shapes are refused, variables without elements are not."""

import keras
import numpy as np
import pytest
from keras import ops

import tfwd
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import table


@pytest.mark.parametrize("name", ["SGDS", "AdamS", "AdaiS"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 3), (3, 1), (2,)])
def test_gradient_of_another_shape_is_refused(name, shape):
    optimizer = getattr(tfwd, name)(0.1)
    variable = keras.Variable(np.ones(3, "float32"), name="kernel")
    with pytest.raises(ValueError, match=r"^`grads` must have the shapes"):
        optimizer.apply([ops.ones(shape)], [variable])
    np.testing.assert_array_equal(ops.convert_to_numpy(variable), np.ones(3))


def test_the_message_names_the_variable_and_both_shapes():
    variable = keras.Variable(np.ones(3, "float32"), name="kernel")
    with pytest.raises(ValueError) as error:
        tfwd.SGD().apply([ops.ones((1,))], [variable])
    assert str(error.value).endswith(
        "Received: a gradient of shape (1,) for kernel of shape (3,)"
    )


@pytest.mark.parametrize("case", table.DEFAULT_CASES, ids=table.case_id)
def test_variable_without_elements_changes_nothing_for_the_others(case):
    row, mode = case
    theta, gradients = harness.random_problem(3)
    optimizer = row.make(mode)
    actual = harness.apply_all(
        optimizer,
        harness.make_variables([*theta[:2], np.zeros((0, 4))]),
        [[*step[:2], np.zeros((0, 4))] for step in gradients],
    )
    expected = row.expected(mode, theta[:2], [step[:2] for step in gradients])
    assert harness.relative_error(actual[:2], expected) <= 1e-6
    assert actual[2].shape == (0, 4)


@pytest.mark.parametrize("case", table.DEFAULT_CASES, ids=table.case_id)
def test_optimizer_of_nothing_but_empty_variables_steps(case):
    row, mode = case
    optimizer = row.make(mode)
    variables = [keras.Variable(np.zeros((0,), "float32"))]
    harness.apply_all(optimizer, variables, [[np.zeros((0,))]] * 2)
    assert int(ops.convert_to_numpy(optimizer.skipped_steps)) == 0
