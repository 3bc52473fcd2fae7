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
