"""Variables must be real floating-point, and no others are moved."""

import keras
import numpy as np
import pytest

import tfwd

ALL = sorted(tfwd.optimizers.OPTIMIZERS)


def variable_of(dtype):
    return keras.Variable(np.array([1, 2]), dtype=dtype, name="phase")


@pytest.mark.parametrize("name", ALL)
def test_complex_variables_are_refused_at_build(name):
    with pytest.raises(ValueError) as error:
        tfwd.optimizers.OPTIMIZERS[name](0.1).build([variable_of("complex64")])
    assert str(error.value) == (
        "`variables` must be real floating-point; one that no step should "
        "move is made with `trainable=False`. Received: phase of complex64"
    )


@pytest.mark.parametrize("name", ALL)
def test_a_step_on_an_integer_variable_is_refused_in_one_line(name):
    variable = variable_of("int32")
    gradient = keras.ops.convert_to_tensor(np.int32([1, 1]))
    with pytest.raises(ValueError, match="^`variables` .* phase of int32$"):
        tfwd.optimizers.OPTIMIZERS[name](0.1).apply([gradient], [variable])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), [1, 2])


@pytest.mark.parametrize("name", ALL)
def test_an_integer_without_a_gradient_stands_among_the_variables(name):
    counter = variable_of("int32")
    weight = keras.Variable(np.float32([0.5, 2.0]), name="kernel")
    optimizer = tfwd.optimizers.OPTIMIZERS[name](0.1, weight_decay=0.1)
    optimizer.build([counter, weight])
    gradient = keras.ops.convert_to_tensor(np.float32([1.0, 1.0]))
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        for _ in range(8):
            optimizer.apply([None, gradient], [counter, weight])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(counter), [1, 2])
    after = keras.ops.convert_to_numpy(weight)
    assert np.isfinite(after).all() and (after < [0.5, 2.0]).all()


@pytest.mark.parametrize("name", ["AdamW", "AMSGradS", "RAdam", "Adai"])
def test_the_refusal_of_float16_names_the_variable_and_shows_no_weights(name):
    with pytest.raises(ValueError) as error:
        getattr(tfwd, name)().build([variable_of("float16")])
    assert str(error.value).endswith(" Received: phase of float16")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_real_floating_variables_train(dtype):
    variable = keras.Variable(np.array([1.0, 2.0]), dtype=dtype)
    gradient = keras.ops.ones((2,), dtype)
    tfwd.AdamW(0.25).apply([gradient], [variable])
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(variable).astype("float64"), [0.75, 1.75]
    )


@pytest.mark.parametrize("variables", [None, "kernel", 3])
def test_what_is_no_list_of_variables_is_refused(variables):
    with pytest.raises(ValueError, match="^`variables` must be a list"):
        tfwd.SGD().build(variables)
