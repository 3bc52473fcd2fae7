"""A callback that tells when weight decay overshoots zero."""

import warnings

import keras
from keras import ops

from tfwd.optimizers import wrappers


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


class OvershootWarning(keras.callbacks.Callback):
    """Warns at the end of an epoch when the decay overshot zero.

    A callback warns once of each optimizer.

    Example:
    >>> model.compile(optimizer=tfwd.AdamS(1e-3, weight_decay=5e-4), loss="mse")
    >>> callback = tfwd.OvershootWarning()
    >>> history = model.fit(x, y, callbacks=[callback], verbose=0)
    """

    def __init__(self):
        """Starts with nothing reported."""
        super().__init__()
        self._reported = set()

    def on_epoch_end(self, epoch, logs=None):
        """Warns of the optimizers that overshot and were not reported yet."""
        for optimizer in wrappers.decaying_optimizers(self.model.optimizer):
            text = message(optimizer)
            if text is not None and id(optimizer) not in self._reported:
                self._reported.add(id(optimizer))
                warnings.warn(text, stacklevel=2)
