"""From settings to schedules and an optimizer."""

import dataclasses
import inspect
import math

import keras

from tfwd import kfac
from tfwd import optimizers
from tfwd import scaling
from tfwd.optimizers import adai
from tfwd.optimizers import sgd
from tfwd.training.config import fields
from tfwd.training.config import rules
from tfwd.training.setup import limits
from tfwd.training.setup import rates

OPTIMIZERS = {**optimizers.OPTIMIZERS, "kfac": kfac.KFAC}

# The seed is that of the whole run, whatever optimizer takes it.
_HYPERPARAMETERS = sorted(
    {name for cls in OPTIMIZERS.values() for name in cls.hyperparameters}
    - {"seed"}
)
_KERAS_ARGUMENTS = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
)


# λ of Xie et al. 2022 for L2 and stable decay (Appendix B.1).
_USUAL_DECAY = 5e-4


@dataclasses.dataclass(frozen=True)
class Plan:
    """An optimizer before it is made: its class, schedules and arguments.

    `learning_rate` and `weight_decay_factor` are floats or Keras schedules;
    the decay coefficient in step t is `weight_decay * weight_decay_factor(t)`.
    """

    cls: type
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule
    weight_decay: float
    weight_decay_factor: float | keras.optimizers.schedules.LearningRateSchedule
    arguments: dict

    def create(self):
        """Makes the optimizer, in the strategy's scope if there is one."""
        factor = self.weight_decay_factor
        return self.cls(
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            weight_decay_schedule=None if factor == 1.0 else factor,
            **self.arguments,
        )


def check(settings):
    """Checks that the optimizer takes every flag that was given.

    Raises:
        ValueError: A flag that this optimizer does not take; names both.
    """
    chosen = settings.optimizer.optimizer
    cls = OPTIMIZERS[chosen]
    values = fields.values(settings)
    for name in _HYPERPARAMETERS:
        value = values[name]
        if value is not None and name not in cls.hyperparameters:
            rules.refuse(
                name,
                f"is no argument of --optimizer={chosen}, which "
                f"takes {', '.join(cls.hyperparameters)}",
                value,
            )
    if settings.kfac.cold_start is not None and chosen != "kfac":
        rules.refuse(
            "cold_start",
            f"needs --optimizer=kfac, not --optimizer={chosen}",
            settings.kfac.cold_start,
        )
    if (
        settings.optimizer.accumulation_steps is not None
        and settings.kfac.update_order == "authors"
    ):
        rules.refuse(
            "accumulation_steps",
            "excludes --update_order=authors, where the last batch of an "
            "update would meet other weights than the first",
            settings.optimizer.accumulation_steps,
        )
    mode = settings.optimizer.weight_decay_mode
    if mode is not None and mode not in cls.weight_decay_modes:
        rules.refuse(
            "weight_decay_mode",
            f"must be one of {', '.join(cls.weight_decay_modes)} for "
            f"--optimizer={chosen}",
            mode,
        )


def not_taken(name):
    """Returns the names of the flags that an optimizer has no argument for.

    Args:
        name: Key of `OPTIMIZERS`.
    """
    others = {*_HYPERPARAMETERS} - {*OPTIMIZERS[name].hyperparameters}
    return others if name == "kfac" else {*others, "cold_start"}


def decay_factor(cls, mode=None):
    """Returns how many times the λ of mode "stable" that of a mode is.

    1 where the optimizer's own scale is part of the decay, in modes l2, stable
    and elementwise. A decoupled decay takes as much off the weights with s
    times that λ, where s is 1/(1 - β) = 10 of momentum 0.9 for SGD and K-FAC,
    1 for Adai, and 1/η of the optimizer's default learning rate for the others
    (1000 for AdamW). An independent one is η times that, η again the default.

    Args:
        cls: One of the classes in `OPTIMIZERS`.
        mode: Its `weight_decay_mode`; None for its default.

    References:
        Xie et al. 2022, whose λ of AdamW is 1000 times that of AdamS and Adam
        (Figure 7), 5e-4/η = 0.5 for 5e-4; Algorithm 8 for SGD.
    """
    mode = mode or cls.weight_decay_modes[0]
    if mode not in ("decoupled", "independent"):
        return 1.0
    rate = _default_learning_rate(cls)
    decoupled = 1 / rate
    if issubclass(cls, (sgd.SGD, kfac.KFAC)):
        decoupled = scaling.decoupled_from_stable(1.0, momentum=0.9)
    elif issubclass(cls, adai.Adai):
        decoupled = 1.0
    return _rounded(decoupled if mode == "decoupled" else rate * decoupled)


def weight_decay(settings):
    """Returns the coefficient λ: the one that was given, or a default.

    The default is 5e-4 times `decay_factor`.
    """
    if settings.optimizer.weight_decay is not None:
        return settings.optimizer.weight_decay
    cls = OPTIMIZERS[settings.optimizer.optimizer]
    factor = decay_factor(cls, settings.optimizer.weight_decay_mode)
    return _rounded(_USUAL_DECAY * factor)


def plan(settings, steps_per_epoch, learning_rate_factor=1.0):
    """Resolves defaults, scaling rule and schedules.

    Args:
        settings: `Settings` that passed `check`.
        steps_per_epoch: Training steps in one epoch. The schedules count the
            updates, of which --accumulation_steps may make fewer.
        learning_rate_factor: Multiplies the learning rate of every step.

    Returns:
        A `Plan`.
    """
    cls = OPTIMIZERS[settings.optimizer.optimizer]
    rate = settings.optimizer.learning_rate
    if rate is None:
        rate = _default_learning_rate(cls)
    rate, decay = rates.scaled(settings, rate, weight_decay(settings))
    limits.check_lengths(settings, steps_per_epoch)
    updates_per_epoch = math.ceil(
        steps_per_epoch / (settings.optimizer.accumulation_steps or 1)
    )
    values = fields.values(settings)
    arguments = {
        name: values[name]
        for name in (*cls.hyperparameters, *_KERAS_ARGUMENTS)
        if values[name] is not None
    }
    if (
        "initial_learning_rate" in cls.hyperparameters
        and settings.optimizer.initial_learning_rate is None
    ):
        # The rate that schedule and warm-up multiply.
        arguments["initial_learning_rate"] = rate
    excluded = settings.optimizer.exclude_from_weight_decay
    if settings.optimizer.weight_decay_mode is not None:
        arguments["weight_decay_mode"] = settings.optimizer.weight_decay_mode
    rate *= learning_rate_factor
    return Plan(
        cls,
        learning_rate=rates.warmed_up(
            settings.schedule,
            rates.schedule(
                settings.schedule,
                settings.schedule.schedule,
                rate,
                updates_per_epoch,
            ),
            updates_per_epoch,
        ),
        weight_decay=decay,
        weight_decay_factor=rates.schedule(
            settings.schedule,
            settings.schedule.weight_decay_schedule,
            1.0,
            updates_per_epoch,
        ),
        arguments={
            **arguments,
            # Numbered by Keras otherwise, and part of the variables' paths.
            "name": settings.optimizer.optimizer,
            "exclude_from_weight_decay": excluded,
            "weight_decay_multipliers": settings.optimizer.multipliers()
            or None,
        },
    )


def value_at(schedule, step):
    """The value of a float or schedule in training step `step`, from 1."""
    if not callable(schedule):
        return float(schedule)
    # Schedules count the steps already made.
    return float(keras.ops.convert_to_numpy(schedule(step - 1)))


def _rounded(value):
    """Returns a float without the last digits, which binary fractions leave."""
    return float(f"{value:g}")


def _default_learning_rate(cls):
    for each in cls.__mro__:
        parameter = inspect.signature(each.__init__).parameters.get(
            "learning_rate"
        )
        if parameter and parameter.default is not inspect.Parameter.empty:
            return float(parameter.default)
    raise TypeError(f"{cls.__name__} has no default learning rate")
