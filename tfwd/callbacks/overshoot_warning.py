"""A callback that tells when weight decay overshoots zero."""

import collections.abc
import warnings

import keras

from tfwd import arguments
from tfwd.callbacks import chief_process
from tfwd.optimizers import overshoot
from tfwd.optimizers import wrappers


class OvershootWarning(keras.callbacks.Callback):
    """Warns at the end of an epoch when the decay overshot zero.

    A callback warns once of each optimizer.

    Args:
        tell: A function that is given the line; by default it is a warning.

    Raises:
        ValueError: If `tell` is neither None nor a function.

    Example:
    >>> model.compile(optimizer=tfwd.AdamS(1e-3, weight_decay=5e-4), loss="mse")
    >>> callback = tfwd.OvershootWarning()
    >>> history = model.fit(x, y, callbacks=[callback], verbose=0)
    """

    def __init__(
        self, tell: collections.abc.Callable[[str], None] | None = None
    ):
        """Starts with nothing reported."""
        super().__init__()
        if not (tell is None or callable(tell)):
            raise ValueError(
                "`tell` must be a function or None. "
                f"Received: tell={arguments.shown(tell)}"
            )
        self._tell = tell or _warn
        self._reported: set[int] = set()

    def on_epoch_end(self, epoch, logs=None):
        """Tells of the optimizers that overshot and were not reported yet."""
        for optimizer in wrappers.decaying_optimizers(self.model.optimizer):
            text = overshoot.message(optimizer)
            if text is not None and id(optimizer) not in self._reported:
                self._reported.add(id(optimizer))
                if chief_process.is_chief(self.model):
                    self._tell(text)


def _warn(text):
    warnings.warn(text, stacklevel=3)
