"""Numbers of the weights: their norm and what the decay penalizes."""

import keras
import numpy as np


def weight_norm(variables):
    """The 2-norm of all variables together, √Σ‖θ‖², in float64."""
    return float(np.sqrt(sum(map(_squared_norm, variables))))


def penalty(variables, coefficients):
    """½ Σ λ_i ‖θ_i‖², the penalty whose gradient is the L2 decay λθ.

    Args:
        variables: Keras variables θ_i.
        coefficients: λ_i of each; 0 where a variable does not decay.

    Returns:
        A float.
    """
    return 0.5 * sum(
        coefficient * _squared_norm(variable)
        for variable, coefficient in zip(variables, coefficients, strict=True)
        if coefficient
    )


def _squared_norm(variable):
    values = keras.ops.convert_to_numpy(variable).astype(np.float64)
    return float(np.sum(values * values))
