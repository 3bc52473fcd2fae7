"""A model's optimizer, out of what Keras may put around it."""

import keras


def unwrapped(optimizer):
    """Returns the optimizer in Keras' `LossScaleOptimizer`, or itself."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def is_multi_optimizer(optimizer):
    """Returns whether it is Keras' `MultiOptimizer`, new in Keras 3.15."""
    kind = getattr(keras.optimizers, "MultiOptimizer", ())
    return isinstance(optimizer, kind)
