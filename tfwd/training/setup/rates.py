"""The learning rate and λ of each update: scaled, then scheduled."""

import keras

from tfwd import scaling
from tfwd import schedules
from tfwd.training.config import rules


def scaled(settings, rate, decay):
    """Returns the learning rate and λ, by `--scaling_rule`.

    Raises:
        ValueError: One of them leaves float32.
    """
    # Examples per update.
    size = settings.data.batch_size * (
        settings.optimizer.accumulation_steps or 1
    )
    sizes = size, settings.schedule.base_batch_size
    if settings.schedule.scaling_rule == "lr":
        rate = scaling.linear_scaling(rate, *sizes)
    elif settings.schedule.scaling_rule == "sqrt_lr":
        rate = scaling.square_root_scaling(rate, *sizes)
    elif settings.schedule.scaling_rule == "weight_decay":
        decay = scaling.weight_decay_scaling(decay, *sizes)
    for name, value in (("learning_rate", rate), ("weight_decay", decay)):
        if not rules.fits_float32(value):
            rules.refuse(
                "scaling_rule",
                f"must leave a {name} that is a float32, not {value:g}",
                settings.schedule.scaling_rule,
            )
    return rate, decay


def schedule(settings, name, value, steps_per_epoch):
    """Returns a value, or the Keras schedule that begins with it.

    Args:
        settings: The `Schedule` settings.
        name: Of the schedule, as `--schedule` has it.
        value: A float.
        steps_per_epoch: Updates of an epoch.

    Raises:
        ValueError: A period is shorter than an update.
    """
    if name == "step":
        return schedules.step_decay(
            value,
            steps_per_epoch,
            settings.decay_epochs,
            factor=settings.decay_factor,
        )
    if name == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            value,
            settings.epochs * steps_per_epoch,
            alpha=settings.final_fraction,
        )
    if name == "cosine_restarts":
        period = round(settings.restart_epochs * steps_per_epoch)
        if period < 1:
            rules.refuse(
                "restart_epochs",
                f"must be at least one step of {steps_per_epoch} in an epoch",
                settings.restart_epochs,
            )
        return keras.optimizers.schedules.CosineDecayRestarts(
            value,
            period,
            t_mul=settings.restart_multiplier,
        )
    return value


def warmed_up(settings, course, steps_per_epoch):
    """Returns a float or schedule after a linear warm-up, if there is one.

    Args:
        settings: The `Schedule` settings.
        course: The float or schedule.
        steps_per_epoch: Updates of an epoch.

    Raises:
        ValueError: The warm-up is shorter than an update.
    """
    steps = round(settings.warmup_epochs * steps_per_epoch)
    if settings.warmup_epochs and not steps:
        rules.refuse(
            "warmup_epochs",
            f"must be 0 or one step of {steps_per_epoch} in an epoch",
            settings.warmup_epochs,
        )
    return schedules.Warmup(course, steps) if steps else course
