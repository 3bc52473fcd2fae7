"""A model's outputs and their derivatives by central differences, float64.

The error is that of the third derivative times STEP² and of rounding over
STEP, both about 1e-10 of the outputs.
"""

import keras
import numpy as np

STEP = 1e-5
TOLERANCE = 1e-7


def outputs(model, x):
    """Returns [batch, ...] in inference mode."""
    return keras.ops.convert_to_numpy(model(x, training=False))


def input_jacobians(model, x):
    """Returns [batch, elements of x, elements of z]; one call for all."""
    size = x[0].size
    steps = STEP * np.eye(size).reshape((size, 1, *x.shape[1:]))
    moved = np.concatenate([x + steps, x - steps]).reshape((-1, *x.shape[1:]))
    plus, minus = outputs(model, moved).reshape((2, size, len(x), -1))
    return ((plus - minus) / (2 * STEP)).swapaxes(0, 1)


def along_weights(model, x, variables=None):
    """Returns J_θ θ, of the shape of the outputs."""
    variables = model.trainable_variables if variables is None else variables
    before = [keras.ops.convert_to_numpy(v) for v in variables]
    found = []
    for factor in (1 + STEP, 1 - STEP):
        for variable, value in zip(variables, before, strict=True):
            variable.assign(factor * value)
        found.append(outputs(model, x))
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    return (found[0] - found[1]) / (2 * STEP)
