"""What the training functions of both backends share."""

import contextlib
import functools

import keras

from tfwd.kfac import backend
from tfwd.optimizers import wrappers


class TrainFunction:
    """Stands in for `model.train_function`, and keeps what was there before.

    `compile` forgets both, as it forgets what a user has put there.

    Args:
        before: What was there.
        train: The function itself, None as long as it is not made.
    """

    def __init__(self, before, train=None):
        self.before = before
        self.train = train

    def __call__(self, *arguments):
        """Trains on batches."""
        return self.train(*arguments)


def keep(model, train):
    """Sets `model.train_function`, which `remove` takes off."""
    model.train_function = TrainFunction(_before(model.train_function), train)


def _before(train_function):
    if isinstance(train_function, TrainFunction):
        return train_function.before
    return train_function


def _is_made(train_function):
    if isinstance(train_function, TrainFunction):
        return train_function.train is not None
    return train_function is not None


def install(model, make_train_function):
    """Gives a model another `make_train_function(force)`, past Keras' tracking.

    Keras calls it at every `fit` and `train_on_batch`; `compile` forgets what
    it made, so compiling and attaching may come in either order. On several
    machines Keras' own `fit` fails before it calls anything of an optimizer,
    so there the model refuses by itself.

    Returns:
        The attribute of a user's own that it stands in for, or None.
    """
    before = vars(model).get("make_train_function")
    object.__setattr__(model, "make_train_function", make_train_function)
    stand_in = TrainFunction(_before(model.train_function))
    object.__setattr__(model, "train_function", stand_in)
    if backend.current.num_workers(model) > 1 and _fits_as_keras(model):
        refuse = functools.partial(_refuse_to_fit, model)
        object.__setattr__(model, "fit", refuse)
    # That of another optimizer would outlive it.
    is_ours = getattr(before, "func", None) is make_train_function.func
    return None if is_ours else before


def remove(model, make_train_function, before):
    """Gives a model back what `install` found, unless another came after."""
    if vars(model).get("make_train_function") is make_train_function:
        object.__delattr__(model, "make_train_function")
        if before is not None:
            object.__setattr__(model, "make_train_function", before)
        own = _before(model.train_function)
        object.__setattr__(model, "train_function", own)
        fit = vars(model).get("fit")
        if isinstance(fit, functools.partial) and fit.func is _refuse_to_fit:
            object.__delattr__(model, "fit")


def _fits_as_keras(model):
    own = "fit" in vars(model)
    return not own and type(model).fit is keras.Model.fit


def check_one_worker(model):
    """Checks that Keras' own training functions can train a model.

    Raises:
        ValueError: If its strategy is of several machines.
    """
    workers = backend.current.num_workers(model)
    if workers > 1:
        raise ValueError(
            "`fit` of Keras 3.15 cannot run under "
            "MultiWorkerMirroredStrategy; use a loop of your own or "
            "`python -m tfwd.train --strategy=multi_worker`. Received: "
            f"{workers} workers"
        )


def _refuse_to_fit(model, *arguments, **keyword_arguments):
    check_one_worker(model)


def is_ready(model, optimizer, force):
    """Returns whether there is nothing to make: it is, or Keras has made it.

    Raises:
        ValueError: If the model has a `train_step` of its own, other variables
            than the optimizer, or the optimizer stands in a `MultiOptimizer`.
    """
    if _is_made(model.train_function) and not force:
        return True
    compiled = wrappers.unwrapped(getattr(model, "optimizer", None))
    if wrappers.is_multi_optimizer(compiled):
        _check_is_not_in(compiled, optimizer, model)
    if compiled is not optimizer:
        model.train_function = _before(model.train_function)
        type(model).make_train_function(model, force)
        return True
    if type(model).train_step is not keras.Model.train_step:
        raise ValueError(
            "KFAC in `fit` needs Keras' own `train_step`; a loop of one's own "
            "calls `update_factors` and `update_inverses`. "
            f"Received: {type(model).__name__}.train_step"
        )
    if optimizer.built:
        optimizer.check_variables(model.trainable_variables)
    return False


def _check_is_not_in(compiled, optimizer, model):
    if not compiled.built:
        with backend.current.scope_of(optimizer.strategy):
            compiled.build(model.trainable_variables)
    if any(each is optimizer for each in compiled.optimizers):
        raise ValueError(
            "KFAC must not stand in a `MultiOptimizer`, which makes no factors "
            "and no inverses; on_unsupported='sgd' moves other layers. "
            f"Received: {type(compiled).__name__} with {optimizer.name}"
        )


@contextlib.contextmanager
def context_of(model, attached, preconditioned):
    """The context of a step, `preconditioned()` where that is right.

    A step that runs eagerly cannot be taken back when it turns out to
    differentiate the network twice.
    """
    if attached.differentiates_twice or model.run_eagerly:
        yield
        return
    with preconditioned() as hook:
        # Keras scales the loss by its own optimizer between the forward pass
        # and the gradients, a `LossScaleOptimizer` past the one inside.
        if hook is not None and wrappers.unwrapped(model.optimizer) is (
            model.optimizer
        ):
            hook.awaits_loss = True
        yield


def retried(attached, make_step):
    """Returns a compiled step that is made anew without preconditioning.

    That is, if tracing it shows that it differentiates the network twice.

    Args:
        attached: The `attachment.Attachment`.
        make_step: Returns a function that is traced at its first call.
    """
    step = make_step()

    def take(*arguments):
        nonlocal step
        known = attached.differentiates_twice
        try:
            return step(*arguments)
        except Exception:
            if known or not attached.differentiates_twice:
                raise
        step = make_step()
        return step(*arguments)

    return take


def batches(iterator, limit):
    """Yields up to `limit` batches, fewer at the end of the data."""
    for _ in range(limit):
        try:
            yield next(iterator)
        except StopIteration:
            return
