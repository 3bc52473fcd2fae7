"""What is told of a weight decay that overshoots zero."""

from keras import ops


def message(optimizer):
    """Returns one line on the first overshoot of `optimizer`, or None."""
    step = int(ops.convert_to_numpy(optimizer.first_overshoot_step))
    if step == 0:
        return None
    return (
        f"Weight decay of {optimizer.name} took weights to zero or past it "
        f"first at step {step}: learning rate, scale and coefficient multiply "
        "to one or more. Lower `weight_decay` or `learning_rate`."
    )


def decaying_optimizers(optimizer):
    """Returns the optimizers of this library within Keras' wrappers."""
    if hasattr(optimizer, "first_overshoot_step"):
        return [optimizer]
    inner = getattr(optimizer, "inner_optimizer", None)
    wrapped = [inner] if inner is not None else []
    wrapped.extend(getattr(optimizer, "optimizers", ()))
    return [found for o in wrapped for found in decaying_optimizers(o)]
