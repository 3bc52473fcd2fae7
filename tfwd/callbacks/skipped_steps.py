"""A callback for `fit` that knows of skipped steps what no optimizer sees."""

import warnings

import keras
from keras import ops

from tfwd import arguments
from tfwd.callbacks import chief_process
from tfwd.optimizers import wrappers


class SkippedSteps(keras.callbacks.Callback):
    """Undoes what skipped steps wrote into the model, and stops in time.

    An optimizer that skips a step leaves weights and its own statistics alone,
    but the forward pass has already written the moving averages of batch
    normalization, to which a NaN sticks for good. After each batch this
    callback gives all such floating-point variables the values before the
    step, if it was skipped; a frozen layer, which writes none, is left out.
    State of random seeds moves on. It keeps a copy of the variables and reads
    a counter after every batch, which waits for the device. With
    `steps_per_execution` the values are those before the execution.

    Args:
        stop_after: Stops the training, with a warning, after so many skipped
            steps in a row; None for never.

    Raises:
        ValueError: If `stop_after` is neither None nor an integer above 0.

    Example:
    >>> model.compile(optimizer=tfwd.AdamS(1e-3, weight_decay=5e-4), loss="mse")
    >>> callback = tfwd.SkippedSteps(stop_after=10)
    >>> history = model.fit(x, y, callbacks=[callback], verbose=0)
    """

    def __init__(self, stop_after: int | None = None):
        """Checks the argument."""
        super().__init__()
        if stop_after is not None:
            arguments.check_integer("stop_after", stop_after, 1)
        self.stop_after = stop_after

    def on_train_begin(self, logs=None):
        """Keeps what the model holds before the first step."""
        self._optimizers = wrappers.decaying_optimizers(self.model.optimizer)
        self._in_a_row = 0
        self._counts = self._count()
        self._keep()

    def on_train_batch_end(self, batch, logs=None):
        """Restores or keeps, where a step ended with this batch."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        counts = self._count()
        steps, skipped = (
            now - before
            for now, before in zip(counts, self._counts, strict=True)
        )
        self._counts = counts
        if not steps:  # Gradients are being accumulated.
            return
        self._in_a_row = self._in_a_row + skipped if skipped == steps else 0
        if skipped:
            for variable, value in self._kept:
                variable.assign(ops.copy(value))
        else:
            self._keep()
        if self.stop_after is not None and self._in_a_row >= self.stop_after:
            self.model.stop_training = True
            if chief_process.is_chief(self.model):
                warnings.warn(
                    f"Training stops: the last {self._in_a_row} steps were "
                    f"skipped ({self._optimizers[0].reason_to_skip}).",
                    stacklevel=2,
                )

    def _keep(self):
        # Copies: the next step may take the arrays themselves over.
        self._kept = [
            (variable, ops.copy(variable))
            for variable in _written_in_steps(self.model)
        ]

    def _count(self):
        """Returns the steps so far, and how many of them were skipped."""
        counters = [(o.iterations, o.skipped_steps) for o in self._optimizers]
        counts = [[int(ops.convert_to_numpy(n)) for n in c] for c in counters]
        return tuple(max(each) for each in zip((0, 0), *counts, strict=True))


def _written_in_steps(model):
    """Returns the floating-point variables that a forward pass may write."""
    frozen = {id(v) for layer in _frozen(model) for v in layer.variables}
    return [
        variable
        for variable in model.non_trainable_variables
        if id(variable) not in frozen
        and keras.backend.is_float_dtype(
            keras.backend.standardize_dtype(variable.dtype)
        )
    ]


def _frozen(layer):
    if not layer.trainable:
        return [layer]
    inner = getattr(layer, "layers", ())
    return [found for each in inner for found in _frozen(each)]
