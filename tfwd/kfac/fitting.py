"""What the training functions of both backends share."""

import keras


def unwrapped(optimizer):
    """Returns the optimizer in Keras' `LossScaleOptimizer`, or itself."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def install(model, make_train_function):
    """Gives a model another `make_train_function(force)`, past Keras' tracking.

    Keras calls it at every `fit` and `train_on_batch`; `compile` forgets what
    it made, so compiling and attaching may come in either order.
    """
    object.__setattr__(model, "make_train_function", make_train_function)
    object.__setattr__(model, "train_function", None)


def remove(model, make_train_function):
    """Gives a model its class's own back, unless another one came after."""
    if vars(model).get("make_train_function") is make_train_function:
        object.__delattr__(model, "make_train_function")
        object.__setattr__(model, "train_function", None)


def is_ready(model, optimizer, force):
    """Tells whether there is nothing to make: it is, or Keras has made it.

    Raises:
        ValueError: If the model has a `train_step` of its own.
    """
    if model.train_function is not None and not force:
        return True
    if unwrapped(getattr(model, "optimizer", None)) is not optimizer:
        type(model).make_train_function(model, force)
        return True
    if type(model).train_step is not keras.Model.train_step:
        raise ValueError(
            "KFAC in `fit` needs Keras' own `train_step`; a loop of one's own "
            "calls `update_factors` and `update_inverses`. "
            f"Received: {type(model).__name__}.train_step"
        )
    return False


def batches(iterator, limit):
    """Yields up to `limit` batches, fewer at the end of the data."""
    for _ in range(limit):
        try:
            yield next(iterator)
        except StopIteration:
            return
