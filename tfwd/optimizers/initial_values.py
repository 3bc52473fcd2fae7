"""Initial values of optimizer variables."""

from keras import ops


def constant(value):
    """Returns an initializer that holds `value` in the variable's own type.

    `keras.initializers.Constant` passes through float32 on TensorFlow, which
    leaves a float64 variable with eight digits.
    """

    def initializer(shape, dtype=None):
        return ops.full(shape, ops.convert_to_tensor(value, dtype), dtype)

    return initializer
