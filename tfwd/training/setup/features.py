"""The callbacks that the settings of a run ask for."""

import csv

from tfwd.callbacks import decay_scope_switch
from tfwd.callbacks import mechanism_logger
from tfwd.callbacks import overshoot_warning
from tfwd.callbacks import weight_norm_transfer
from tfwd.training.config import paths
from tfwd.training.config import rules
from tfwd.training.config import usage
from tfwd.training.setup import measurement


def of(settings, model, progress):
    """Returns the callbacks that change or watch a run, without diagnostics.

    Args:
        settings: `Settings`.
        model: The built and compiled model.
        progress: The `Progress` of the run.

    Raises:
        ValueError: The scope selects nothing, or there is no reference norm
            for one of the layers and epochs.
    """
    features = []
    # From the start on the optimizer is built with the scope.
    if settings.optimizer.decay_scope_from_epoch:
        switch = decay_scope_switch.DecayScopeSwitch(
            settings.optimizer.decay_scope,
            settings.optimizer.decay_scope_from_epoch + 1,
            verbose=True,
        )
        features.append(_checked(switch, settings, model))
    if settings.run.norm_transfer is not None:
        features.append(_norm_transfer(settings, model))
    if not progress.overshot:
        features.append(overshoot_warning.OvershootWarning(tell=print))
    return features


def diagnostics(settings, strategy, source, model, progress):
    """Returns the logger of a run's diagnostics, None where there are none.

    Args:
        settings: `Settings`.
        strategy: The strategy of the run.
        source: The data set.
        model: The built and compiled model.
        progress: The `Progress` of the run.

    Raises:
        ValueError: The model cannot have one of the diagnostics.
    """
    names = settings.run.diagnostics
    if not names:
        return None
    batches = ()
    if set(names) - set(measurement.WITHOUT_DATA):
        batches = measurement.batches(
            source, "train", settings.run.diagnostics_examples, strategy
        )
    logger = mechanism_logger.MechanismLogger(
        # That of the run, which is not made yet, follows.
        ".",
        batches,
        every=settings.run.diagnostics_every,
        diagnostics=names,
        examples=None,
        projections=settings.run.diagnostics_projections,
        # Drawn after a training that failed, too.
        picture=False,
        seed=settings.run.seed,
        progress=progress,
    )
    return _checked(logger, settings, model)


def put(logger, settings, files):
    """Lets the logger of a run write to its `run_files.Files`."""
    logger.path = files.folder
    if settings.run.tensorboard:
        logger.tensorboard = files.tensorboard / "diagnostics"


def _norm_transfer(settings, model):
    path = paths.expanded("norm_transfer", settings.run.norm_transfer)
    try:
        with usage.refusals():
            transfer = weight_norm_transfer.WeightNormTransfer(
                path,
                first_epoch=settings.run.norm_transfer_from_epoch,
                moments=settings.run.norm_transfer_moments,
            )
            return _checked(transfer, settings, model)
    except OSError as error:
        rules.refuse(
            "norm_transfer", f"must be a readable file ({error.strerror})", path
        )
    except (UnicodeDecodeError, csv.Error) as error:
        rules.refuse("norm_transfer", f"must be a CSV file ({error})", path)
    except usage.UsageError as error:
        rules.refuse("norm_transfer", f"must fit this run ({error})", path)


def _checked(callback, settings, model):
    """Returns a callback after the checks that it makes before training."""
    callback.set_model(model)
    callback.set_params({"epochs": settings.schedule.epochs})
    callback.on_train_begin()
    return callback
