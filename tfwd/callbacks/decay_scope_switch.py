"""A weight decay that is restricted to a part of the model from an epoch on."""

import contextlib

import keras

from tfwd import arguments
from tfwd import types
from tfwd.callbacks import chief_process
from tfwd.diagnostics.scale_invariance import decay_scope
from tfwd.optimizers import wrappers


def restrict(model, scope):
    """Restricts the weight decay of a compiled model to a scope.

    What decays is multiplied, not chosen anew: a variable that was excluded
    when the optimizer was built stays so. Training functions that are compiled
    already go on as before until they are traced anew.

    Args:
        model: A built model, compiled with an optimizer of `tfwd`, also inside
            Keras' `LossScaleOptimizer` or `MultiOptimizer`.
        scope: One of `decay_scope.SCOPES`.

    Returns:
        Whether that changed anything.

    Raises:
        ValueError: If the optimizer is none of `tfwd`, or the scope does not
            suit the model.
    """
    optimizers = _decaying(model)
    factors = decay_scope.factors(model, scope)
    factor_of = {
        id(variable): factor
        for variable, factor in zip(
            model.trainable_variables, factors, strict=True
        )
    }
    if not model.optimizer.built:
        with _scope_of(model):
            model.optimizer.build(model.trainable_variables)
    is_changed = False
    for optimizer in optimizers:
        # One in a `MultiOptimizer` that no variable was given to.
        if not optimizer.built:
            continue
        before = optimizer.weight_decay_factors
        optimizer.restrict_weight_decay(
            [factor_of[id(v)] for v in optimizer.model_variables()]
        )
        is_changed |= optimizer.weight_decay_factors != before
    return is_changed


class DecayScopeSwitch(keras.callbacks.Callback):
    """Restricts the weight decay to a scope from an epoch of `fit` on.

    Epochs before it decay as compiled. The restriction stays with the
    optimizer, is saved with it, and holds in a later `fit` from its start;
    `optimizer.restrict_weight_decay` with ones lifts it. The training function
    is traced once more when the decay changes.

    Args:
        scope: One of `decay_scope.SCOPES`: `"all"`, `"normalized"`, `"final"`
            or `"none"`.
        first_epoch: The first epoch, from 1, with the restricted decay.
        verbose: Whether to print a line when the decay changes.

    Raises:
        ValueError: If an argument is not valid; before the first step, if the
            optimizer is none of `tfwd` or the model lacks such a scope.

    Example:
    >>> switch = DecayScopeSwitch("normalized", first_epoch=60)
    >>> history = model.fit(x, y, epochs=200, callbacks=[switch])
    """

    def __init__(
        self, scope: types.DecayScope, first_epoch: int, verbose: bool = False
    ):
        """Checks and keeps the arguments."""
        super().__init__()
        arguments.check_choice("scope", scope, decay_scope.SCOPES)
        self.scope = scope
        self.first_epoch = arguments.check_integer(
            "first_epoch", first_epoch, 1
        )
        self.verbose = arguments.check_boolean("verbose", verbose)

    def on_train_begin(self, logs=None):
        """Checks optimizer and scope, so that no epoch is lost to an error."""
        _decaying(self.model)
        decay_scope.factors(self.model, self.scope)

    def on_epoch_begin(self, epoch, logs=None):
        """Switches; `epoch` counts from 0, as everywhere in Keras."""
        if epoch + 1 < self.first_epoch:
            return
        model = self.model
        if restrict(model, self.scope):
            model.make_train_function(force=True)
            if self.verbose and chief_process.is_chief(model):
                print(_line(model, self.scope))


def _decaying(model):
    optimizers = wrappers.decaying_optimizers(model.optimizer)
    if not optimizers:
        raise ValueError(
            "`model` must be compiled with an optimizer of tfwd. "
            f"Received: {type(model.optimizer).__name__}"
        )
    return optimizers


def _line(model, scope):
    factors = [
        factor
        for optimizer in _decaying(model)
        if optimizer.built
        for factor in optimizer.weight_decay_factors
    ]
    return (
        f"Weight decay is kept to scope={scope}: {sum(map(bool, factors))} of "
        f"{len(factors)} variables decay"
    )


def _scope_of(model):
    """Returns where variables are created: of TensorFlow's strategy."""
    strategy = getattr(model, "distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()
