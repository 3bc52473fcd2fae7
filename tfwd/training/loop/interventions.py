"""What is changed between epochs: where the decay acts, the weights' norms.

All of it is a function of the epoch, so that a run that is resumed does what
it would have done.
"""

import csv
import warnings

from tfwd.diagnostics import norm_transfer
from tfwd.diagnostics.scale_invariance import decay_scope
from tfwd.training.config import paths
from tfwd.training.config import rules
from tfwd.training.config import usage
from tfwd.training.loop import loop as loop_lib


class Interventions:
    """Changes a run between its epochs; by default nothing.

    Args:
        settings: `Settings`.
        model: The built model.
        optimizer: Its built optimizer.
        loop: The `loop.Loop`.

    Raises:
        ValueError: The scope selects nothing, or there is no reference norm
            for one of the layers and epochs.
    """

    def __init__(self, settings, model, optimizer, loop):
        self._optimizer = optimizer
        self._loop = loop
        self._scope = settings.decay_scope
        self._switch_epoch = settings.decay_scope_from_epoch
        # From the start on the optimizer has the scope from its patterns.
        self._factors = None
        if self._switch_epoch:
            self._factors = decay_scope.factors(model, settings.decay_scope)
        self._first_transfer = settings.norm_transfer_from_epoch
        self._transfer = None
        self._has_warned = False
        if settings.norm_transfer is not None:
            self._transfer = _transfer(settings, model, optimizer)

    def before_epoch(self, epochs):
        """Restricts the decay if it is time, after so many epochs.

        Returns:
            A line that says so, or None where nothing has been done.
        """
        if self._factors is None or epochs < self._switch_epoch:
            return None
        self._optimizer.restrict_weight_decay(self._factors)
        self._factors = None
        # The factors are constants of the compiled steps.
        self._loop.retrace()
        factors = self._optimizer.weight_decay_factors
        return (
            f"Weight decay is kept to --decay_scope={self._scope}: "
            f"{sum(map(bool, factors))} of {len(factors)} variables decay"
        )

    def after_epoch(self, epochs):
        """Gives the weights their reference norms after so many epochs.

        Raises:
            NonFiniteError: The weights of a layer are zero or no numbers.
        """
        if self._transfer is None or epochs < self._first_transfer:
            return
        try:
            with usage.refusals():
                rescaled = self._transfer.apply(epochs)
        except usage.UsageError as error:
            # What was checked before still holds: it is the weights.
            raise loop_lib.NonFiniteError(error) from None
        if rescaled.not_absorbed and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"The norms of epoch {epochs} are too small for the epsilon "
                f"of {', '.join(rescaled.not_absorbed)}: predictions changed",
                stacklevel=2,
            )


def _transfer(settings, model, optimizer):
    path = paths.expanded("norm_transfer", settings.norm_transfer)
    epochs = range(settings.norm_transfer_from_epoch, settings.epochs + 1)
    try:
        with usage.refusals():
            transfer = norm_transfer.Transfer(
                model, optimizer, path, moments=settings.norm_transfer_moments
            )
            transfer.check(epochs)
    except OSError as error:
        rules.refuse(
            "norm_transfer", f"must be a readable file ({error.strerror})", path
        )
    except (UnicodeDecodeError, csv.Error) as error:
        rules.refuse("norm_transfer", f"must be a CSV file ({error})", path)
    except usage.UsageError as error:
        rules.refuse("norm_transfer", f"must fit this run ({error})", path)
    return transfer
