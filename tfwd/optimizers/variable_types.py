"""Which types of variables can be optimized."""

import keras

from tfwd import arguments
from tfwd.optimizers import selection

_WHOLE = ("int", "uint", "bool")
_REAL_FLOATING = ("bfloat16", "float16", "float32", "float64")


def check_real_floating(variables, gradients=None):
    """Raises `ValueError` if a variable is not of a real floating type.

    Of a complex gradient neither the square nor a comparison is what the
    rules mean, and a step on an integer is rounded away. A counter that a
    layer forgot to make untrainable may stand among the variables, as in
    Keras: integers are refused where they have a gradient.

    Args:
        variables: A list of variables.
        gradients: One for each variable or None, where they are known.
    """
    if not isinstance(variables, (list, tuple)):
        raise ValueError(
            "`variables` must be a list of variables. "
            f"Received: variables={arguments.shown(variables)}"
        )
    if gradients is None:
        gradients = [None] * len(variables)
    for variable, gradient in zip(variables, gradients, strict=False):
        dtype = keras.backend.standardize_dtype(variable.dtype)
        stands_still = gradient is None and dtype.startswith(_WHOLE)
        if dtype not in _REAL_FLOATING and not stands_still:
            raise ValueError(
                "`variables` must be real floating-point; one that no step "
                "should move is made with `trainable=False`. "
                f"Received: {selection.path_of(variable)} of {dtype}"
            )


def check_holds_squares(variables):
    """Raises `ValueError` if a variable is of float16.

    The square of a gradient of 1e-4 is zero there, and so is an ε of 1e-8.
    """
    for variable in variables:
        if keras.backend.standardize_dtype(variable.dtype) == "float16":
            raise ValueError(
                "`variables` must not be float16, which cannot hold squares "
                "of gradients; the policy 'mixed_float16' keeps them in "
                f"float32. Received: {selection.path_of(variable)} of float16"
            )
