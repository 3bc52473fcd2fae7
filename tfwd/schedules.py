"""Schedules of the learning rate or of the weight decay, counted in steps.

Each is a Keras `LearningRateSchedule`: a function of the step t, counted from
0, that Keras saves with the optimizer and calls inside the compiled step.
"""

import collections.abc
import math
import warnings

import keras
import numpy as np
from keras import ops

from tfwd import arguments
from tfwd import types


def step_decay(
    initial_value: float,
    steps_per_epoch: int,
    epochs: collections.abc.Sequence[int],
    factor: float = 0.1,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns v₀ * factor^k, k the number of `epochs` that have begun.

    The first step of epoch 80, counted from 0, already has the lower value.
    (Keras' `PiecewiseConstantDecay` includes its boundary in the earlier
    stretch, so the boundary is the last step of the epoch before.)

    Args:
        initial_value: v₀, at least 0.
        steps_per_epoch: Steps in one epoch, a positive integer.
        epochs: Epochs at which the value is multiplied by `factor`, increasing
            positive integers; (80, 160) of 200 in Xie et al. 2022, App. B.1.
        factor: Multiplier at each of `epochs`, above 0.

    Raises:
        ValueError: For a value outside the ranges above.
    """
    initial_value = arguments.check_non_negative("initial_value", initial_value)
    steps_per_epoch = _count("steps_per_epoch", steps_per_epoch)
    factor = arguments.check_positive("factor", factor)
    epochs = _epochs(epochs, steps_per_epoch)
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        boundaries=[epoch * steps_per_epoch - 1 for epoch in epochs],
        values=_powers(initial_value, factor, len(epochs)),
    )


@keras.saving.register_keras_serializable("tfwd")
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """Raises a schedule linearly over its first steps.

    With W = `steps` and t the step counted from 0:

        value(t) = (t + 1) / W * schedule(t)    for t < W
        value(t) = schedule(t)                  from then on

    The first step has 1 / W of the value, not nothing, so that it is not
    lost; step W - 1 is the first with the full value. The wrapped schedule
    keeps its own count: warm-up does not shift it.

    Args:
        schedule: A Keras `LearningRateSchedule`, or a number of at least 0
            for a constant.
        steps: W, an integer of at least 0; 0 leaves the schedule as it is.
        name: Name of the schedule's operations.

    Raises:
        ValueError: For a `schedule` or `steps` other than described.

    Example:
        ```python
        cosine = keras.optimizers.schedules.CosineDecay(0.1, 10_000)
        rate = tfwd.schedules.Warmup(cosine, steps=500)
        model.compile(tfwd.SGDS(rate, weight_decay=5e-4), "mse")
        ```

    References:
        Goyal et al. 2017, Accurate, Large Minibatch SGD
        (https://arxiv.org/abs/1706.02677), Section 2.2.
    """

    def __init__(
        self, schedule: types.Schedule, steps: int, name: str = "warmup"
    ):
        super().__init__()
        if not arguments.is_schedule(schedule):
            schedule = arguments.check_non_negative("schedule", schedule)
        self.schedule = schedule
        self.steps = _count("steps", steps, least=0)
        self.name = arguments.check_name("name", name)

    def __call__(self, step):
        """Returns the value at `step`, a scalar or an array of steps."""
        with keras.name_scope(self.name):
            step = ops.convert_to_tensor(step)
            if isinstance(self.schedule, float):
                value = ops.convert_to_tensor(self.schedule)
            else:
                value = self.schedule(step)
            fraction = (ops.cast(step, "float32") + 1) / max(self.steps, 1)
            return value * ops.cast(ops.minimum(fraction, 1), value.dtype)

    def get_config(self):
        """Returns the arguments, the wrapped schedule serialized."""
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "steps": self.steps,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        """Returns the schedule that `get_config` described."""
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(**{**config, "schedule": schedule})


def cosine(
    initial_value: float, total_steps: int, final_fraction: float = 0.0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Deprecated: use `keras.optimizers.schedules.CosineDecay`."""
    _warn("cosine", "CosineDecay(initial_value, total_steps, alpha=...)")
    return keras.optimizers.schedules.CosineDecay(
        arguments.check_non_negative("initial_value", initial_value),
        _count("total_steps", total_steps),
        alpha=arguments.check_interval("final_fraction", final_fraction, 0, 1),
    )


def cosine_restarts(
    initial_value: float,
    first_period_steps: int,
    period_multiplier: float = 2.0,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Deprecated: use `keras.optimizers.schedules.CosineDecayRestarts`."""
    _warn(
        "cosine_restarts",
        "CosineDecayRestarts(initial_value, first_period_steps, t_mul=...)",
    )
    return keras.optimizers.schedules.CosineDecayRestarts(
        arguments.check_non_negative("initial_value", initial_value),
        _count("first_period_steps", first_period_steps),
        t_mul=arguments.check_interval(
            "period_multiplier", period_multiplier, 1, math.inf
        ),
    )


def _warn(old, new):
    warnings.warn(
        f"`tfwd.schedules.{old}` goes with the next version; use "
        f"`keras.optimizers.schedules.{new}`.",
        DeprecationWarning,
        stacklevel=3,
    )


def _count(name, value, least=1):
    return arguments.check_integer(name, value, least, arguments.LARGEST_STEP)


def _epochs(epochs, steps_per_epoch):
    """Returns increasing epochs as a list of ints."""
    try:
        epochs = list(epochs)
    except TypeError:
        raise ValueError(
            "`epochs` must be a list of increasing epochs. "
            f"Received: epochs={arguments.shown(epochs)}"
        ) from None
    highest = arguments.LARGEST_STEP // steps_per_epoch
    epochs = [
        arguments.check_integer("epochs", epoch, 1, highest) for epoch in epochs
    ]
    if not epochs or sorted(set(epochs)) != epochs:
        raise ValueError(
            "`epochs` must be one or more increasing epochs. "
            f"Received: epochs={arguments.shown(epochs)}"
        )
    return epochs


def _powers(initial_value, factor, count):
    """Returns v₀ * factor^k for k = 0, ..., count."""
    try:
        values = [initial_value * factor**k for k in range(count + 1)]
    except OverflowError:
        values = [math.inf]
    # Keras holds them in float32.
    if max(values) > float(np.finfo("float32").max):
        raise ValueError(
            "`factor` must leave a value that float32 holds after all epochs. "
            f"Received: factor={factor}, initial_value={initial_value}, "
            f"{count} epochs"
        )
    return values
