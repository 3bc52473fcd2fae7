"""In which mode weights decay, and how much, step by step."""

import typing
import warnings

import keras
import numpy as np
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.optimizers import initial_values
from tfwd.optimizers import keras_arguments as keras_checks
from tfwd.optimizers.backend import keras_hooks

# Keras' arguments that a step is made of; λ and η are variables.
_FIXED = (
    "weight_decay_mode",
    "weight_decay_schedule",
    "skip_nonfinite",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)


def scalar_dtype():
    """Returns the type of λ, η, t and v̄: float32, or float64 if Keras' is.

    In half precision a step number is exact up to 2,048 only.
    """
    return "float64" if keras.config.floatx() == "float64" else "float32"


class DecayingOptimizer(keras_hooks.HookedOptimizer):
    """A Keras optimizer that knows its weight decay, and saves what it knows.

    Holds the coefficient as a variable, so that it can be changed between
    compiled steps, or as a schedule. Which variables decay is the business of
    `tfwd.optimizers.selective`, how they do that of
    `tfwd.optimizers.base.Optimizer`, which documents the arguments.
    """

    hyperparameters: tuple[str, ...] = ()
    weight_decay_modes: tuple[types.DecayMode, ...] = (
        "l2",
        "decoupled",
        "stable",
        "independent",
    )
    reason_to_skip = (
        "a gradient, or the sum of their squares, was not finite, or the "
        "learning rate or weight decay was not a number of at least 0"
    )

    def __init__(
        self,
        learning_rate: types.Schedule,
        weight_decay: types.Schedule = 0.0,
        *,
        weight_decay_mode: types.DecayMode | None = None,
        weight_decay_schedule: keras.optimizers.schedules.LearningRateSchedule
        | None = None,
        skip_nonfinite: bool = True,
        **keras_arguments: typing.Any,
    ):
        if weight_decay_mode is None:
            weight_decay_mode = self.weight_decay_modes[0]
        weight_decay_mode = arguments.check_choice(
            "weight_decay_mode", weight_decay_mode, self.weight_decay_modes
        )
        arguments.check_schedule("weight_decay_schedule", weight_decay_schedule)
        skip_nonfinite = arguments.check_boolean(
            "skip_nonfinite", skip_nonfinite
        )
        is_schedule = arguments.is_schedule(weight_decay)
        if is_schedule and weight_decay_schedule is not None:
            raise ValueError(
                "`weight_decay_schedule` must be None where `weight_decay` is "
                "a schedule itself. Received: weight_decay_schedule="
                f"{arguments.shown(weight_decay_schedule)}"
            )
        if not is_schedule:
            weight_decay = arguments.check_non_negative(
                "weight_decay", weight_decay
            )
        learning_rate = arguments.check_learning_rate(learning_rate)

        super().__init__(learning_rate, **keras_checks.checked(keras_arguments))
        self.weight_decay_mode = weight_decay_mode
        self.weight_decay_schedule = weight_decay_schedule
        self.skip_nonfinite = skip_nonfinite
        self._has_warned_of_skipped_steps = False
        self._weight_decay = (
            weight_decay
            if is_schedule
            else self._scalar("weight_decay", weight_decay)
        )
        self._effective_weight_decay = self._scalar("effective_weight_decay")
        self._first_overshoot_step = self._scalar(
            "first_overshoot_step", dtype="int"
        )
        self._skipped_steps = self._scalar("skipped_steps", dtype="int")

    def __setattr__(self, name, value):
        """Sets an attribute, unless the steps would not heed it.

        Raises:
            ValueError: If the optimizer is built and the attribute is an
                argument that no variable holds.
        """
        is_argument = name in (*self.hyperparameters, *_FIXED)
        if (
            is_argument
            and not isinstance(getattr(type(self), name, None), property)
            and getattr(self, "built", False)
            # Keras' `LossScaleOptimizer` sets None once more.
            and not (value is None and getattr(self, name) is None)
        ):
            raise ValueError(
                f"`{name}` must not change after `build`, which makes it a "
                "part of the step; make a new optimizer. Received: "
                f"{name}={value}"
            )
        super().__setattr__(name, value)

    def _scalar(self, name, value=0, dtype=None):
        return self.add_variable(
            (),
            initial_values.constant(value),
            dtype=dtype or scalar_dtype(),
            name=name,
        )

    @property
    def weight_decay(self):
        """The coefficient λ, a scalar variable; assign a number to set it.

        Where it was given as a schedule, it is the value for the step to come,
        as `learning_rate` is in Keras, and cannot be set.

        Not forwarded by Keras' `LossScaleOptimizer`, which `compile` puts
        around an optimizer under `mixed_float16`: there it is
        `model.optimizer.inner_optimizer.weight_decay`.
        """
        if callable(self._weight_decay):
            return self.scheduled_weight_decay()
        return self._weight_decay

    @weight_decay.setter
    def weight_decay(self, value):
        # Keras' constructor assigns its own default before the variable is.
        if not hasattr(self, "_weight_decay"):
            return
        if callable(self._weight_decay):
            raise TypeError(
                "`weight_decay` must not be set where it is a schedule; make "
                f"a new optimizer. Received: weight_decay={value}"
            )
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        if not (ops.is_tensor(value) or isinstance(value, keras.Variable)):
            arguments.check_non_negative("weight_decay", value)
        self._weight_decay.assign(value)

    @property
    def effective_weight_decay(self):
        """The sₜλₜ of the last step, a scalar variable."""
        return self._effective_weight_decay

    @property
    def first_overshoot_step(self):
        """The first step with a decay rate of one or more, 0 if none was.

        At a rate of one the decay alone takes a weight to zero, above one past
        it. An integer variable, also written by compiled steps.
        """
        return self._first_overshoot_step

    @property
    def skipped_steps(self):
        """How many steps were skipped because they were not finite.

        An integer variable, also written by compiled steps. With accumulation
        a step is one of the accumulated gradient.
        """
        return self._skipped_steps

    def count_skipped(self, skipped):
        """Adds one to `skipped_steps` if `skipped`, a boolean scalar."""
        self.assign_add(
            self._skipped_steps, ops.cast(skipped, self._skipped_steps.dtype)
        )

    def warn_of_events(self):
        """Warns, once, if steps were skipped.

        `fit` calls it at its end. Does nothing where a program is compiled,
        which cannot know.
        """
        skipped = known(self._skipped_steps)
        if skipped and not self._has_warned_of_skipped_steps:
            self._has_warned_of_skipped_steps = True
            steps = "step" if skipped == 1 else "steps"
            warnings.warn(
                f"{self.name} skipped {skipped} {steps}: "
                f"{self.reason_to_skip}.",
                stacklevel=3,
            )

    def scheduled_weight_decay(self, step=None):
        """Returns λₜ, with its schedule, as a tensor.

        Args:
            step: What a schedule is called with; that of the step to come if
                None.
        """
        step = self.schedule_step() if step is None else step
        if callable(self._weight_decay):
            return ops.cast(self._weight_decay(step), scalar_dtype())
        factor = 1.0
        if self.weight_decay_schedule is not None:
            factor = self.weight_decay_schedule(step)
        return self._weight_decay * ops.cast(factor, self._weight_decay.dtype)

    def decay_schedule(self):
        """Returns the schedule that λ or a multiple of it follows, or None."""
        if callable(self._weight_decay):
            return self._weight_decay
        return self.weight_decay_schedule

    def get_config(self):
        """Returns the arguments, λ with its value of now or its schedule."""
        config = super().get_config()
        schedule = self.weight_decay_schedule
        if schedule is not None:
            schedule = keras.saving.serialize_keras_object(schedule)
        config.update(
            {name: getattr(self, name) for name in self.hyperparameters},
            weight_decay=(
                keras.saving.serialize_keras_object(self._weight_decay)
                if callable(self._weight_decay)
                else _shortest_float(self._weight_decay)
            ),
            weight_decay_mode=self.weight_decay_mode,
            weight_decay_schedule=schedule,
            skip_nonfinite=self.skip_nonfinite,
        )
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes an optimizer from what `get_config` returned."""
        config = dict(config)
        for name in ("weight_decay", "weight_decay_schedule"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(
                    config[name], custom_objects
                )
        return super().from_config(config, custom_objects)


def known(variable):
    """Returns the value of an integer variable, None while it is traced."""
    try:
        return int(ops.convert_to_numpy(variable))
    except (NotImplementedError, TypeError):
        return None


def _shortest_float(variable):
    """Returns 0.0005 and not 0.0005000000237487257 for a float32 5e-4."""
    return float(str(ops.convert_to_numpy(variable)[()]))
