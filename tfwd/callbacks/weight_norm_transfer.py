"""A callback that gives the weights the norms of another run."""

import collections.abc
import os
import typing
import warnings

import keras

from tfwd import arguments
from tfwd.callbacks import chief_process
from tfwd.diagnostics import norm_transfer


class WeightNormTransfer(keras.callbacks.Callback):
    """Rescales weights to the norms of a reference run after each epoch.

    That is before the validation of the epoch, where there is one. Predictions
    stay what they were, in saved models too: moving statistics follow. A
    reference is recorded by `MechanismLogger`. It must hold every epoch from
    `first_epoch` to the last one of `fit`.

    Warns once if a moving variance cannot take the ε of its normalization in,
    so that predictions do change; the norms are then far below the model's.

    Args:
        norms: See `tfwd.diagnostics.norm_transfer.Transfer`.
        layers: Likewise.
        first_epoch: The first epoch, from 1, after which to rescale.
        moments: Likewise. The factors of K-FAC are left as they are.

    Raises:
        ValueError: If an argument is not valid; before the first step, if the
            reference lacks a norm or a layer cannot be rescaled.

    Example:
    >>> transfer = WeightNormTransfer("runs/decay/diagnostics.csv")
    >>> history = model.fit(x, y, epochs=200, callbacks=[transfer])

    References:
        Zhang et al. 2019, Section 4.1 and Figure 4 ("wn-conv").
    """

    def __init__(
        self,
        norms: str | os.PathLike | collections.abc.Mapping,
        *,
        layers: collections.abc.Sequence[str] | None = None,
        first_epoch: int = 1,
        moments: typing.Literal["keep", "scale"] = "keep",
    ):
        """Checks and keeps the arguments."""
        super().__init__()
        arguments.check_choice("moments", moments, norm_transfer.MOMENTS)
        norm_transfer.check_layers(layers)
        if not isinstance(norms, collections.abc.Mapping):
            arguments.check_path("norms", norms)
        self.norms = norms
        self.layers = layers
        self.first_epoch = arguments.check_integer(
            "first_epoch", first_epoch, 1
        )
        self.moments = moments
        self._transfer = None
        self._due = None
        self._has_warned = False

    def on_train_begin(self, logs=None):
        """Reads the reference and checks that it will do."""
        self._transfer = norm_transfer.Transfer(
            self.model,
            self.model.optimizer,
            self.norms,
            self.layers,
            self.moments,
        )
        last = self.params["epochs"]
        self._transfer.check(range(self.first_epoch, last + 1))

    def on_epoch_begin(self, epoch, logs=None):
        """Notes the epoch; `epoch` counts from 0, as everywhere in Keras."""
        self._due = epoch + 1 if epoch + 1 >= self.first_epoch else None

    def on_test_begin(self, logs=None):
        """Rescales before the validation that follows the epoch's steps."""
        self._rescale()

    def on_epoch_end(self, epoch, logs=None):
        """Rescales where there was no validation."""
        self._rescale()

    def _rescale(self):
        epoch, self._due = self._due, None
        if epoch is None:
            return
        # On JAX variables are those of the last step once this is read.
        _ = self.model
        rescaled = self._transfer.apply(epoch)
        if rescaled.not_absorbed and not self._has_warned:
            self._has_warned = True
            if chief_process.is_chief(self.model):
                warnings.warn(
                    "Predictions changed when weights were rescaled after "
                    f"epoch {epoch}: the moving variances of "
                    f"{', '.join(rescaled.not_absorbed)} are too small for "
                    "their epsilon.",
                    stacklevel=2,
                )
