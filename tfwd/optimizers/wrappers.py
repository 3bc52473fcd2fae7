"""What stands inside Keras' `LossScaleOptimizer` and `MultiOptimizer`."""

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


def decaying_optimizers(optimizer):
    """Returns the optimizers of this library within Keras' wrappers."""
    optimizer = unwrapped(optimizer)
    if hasattr(optimizer, "first_overshoot_step"):
        return [optimizer]
    parts = getattr(optimizer, "optimizers", ())
    return [found for part in parts for found in decaying_optimizers(part)]
