"""The policy: which variables of a model decay, in which mode, and how much."""

import warnings

import keras
import numpy as np
from keras import ops

from tfwd.optimizers import arguments
from tfwd.optimizers import factors as factors_lib
from tfwd.optimizers import initial_values
from tfwd.optimizers import keras_arguments as keras_checks
from tfwd.optimizers import keras_hooks
from tfwd.optimizers import selection
from tfwd.optimizers import summary
from tfwd.optimizers import variable_types

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


class WeightDecayPolicy(keras_hooks.HookedOptimizer):
    """A Keras optimizer that knows its weight decay, and saves what it knows.

    Holds the coefficient as a variable, so that it can be changed between
    compiled steps, and the selection of the variables by position, so that it
    survives the renaming of variables when a model is loaded. What is done
    with them is the business of `tfwd.optimizers.base.Optimizer`, which
    documents the arguments.
    """

    hyperparameters = ()
    weight_decay_modes = ("l2", "decoupled", "stable", "independent")
    reason_to_skip = (
        "a gradient, or the sum of their squares, was not finite, or the "
        "learning rate or weight decay was not a number of at least 0"
    )

    def __init__(
        self,
        learning_rate,
        weight_decay=0.0,
        *,
        weight_decay_mode=None,
        weight_decay_schedule=None,
        weight_decay_multipliers=None,
        exclude_from_weight_decay=(),
        skip_nonfinite=True,
        **keras_arguments,
    ):
        if weight_decay_mode is None:
            weight_decay_mode = self.weight_decay_modes[0]
        exclusions = selection.exclusions(
            "exclude_from_weight_decay", exclude_from_weight_decay
        )
        multipliers = selection.multipliers(
            "weight_decay_multipliers", weight_decay_multipliers
        )
        weight_decay_mode = arguments.check_choice(
            "weight_decay_mode", weight_decay_mode, self.weight_decay_modes
        )
        weight_decay = arguments.check_non_negative(
            "weight_decay", weight_decay
        )
        arguments.check_schedule("weight_decay_schedule", weight_decay_schedule)
        skip_nonfinite = arguments.check_boolean(
            "skip_nonfinite", skip_nonfinite
        )
        learning_rate = arguments.check_learning_rate(learning_rate)

        super().__init__(learning_rate, **keras_checks.checked(keras_arguments))
        self.weight_decay_mode = weight_decay_mode
        self.weight_decay_schedule = weight_decay_schedule
        self.skip_nonfinite = skip_nonfinite
        self._decay_factors = factors_lib.DecayFactors(exclusions, multipliers)
        self._has_warned_of_skipped_steps = False
        self._weight_decay = self._scalar("weight_decay", weight_decay)
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

        Not forwarded by Keras' `LossScaleOptimizer`, which `compile` puts
        around an optimizer under `mixed_float16`: there it is
        `model.optimizer.inner_optimizer.weight_decay`.
        """
        return self._weight_decay

    @weight_decay.setter
    def weight_decay(self, value):
        # Keras' constructor assigns its own default before the variable is.
        if not hasattr(self, "_weight_decay"):
            return
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        if not (ops.is_tensor(value) or isinstance(value, keras.Variable)):
            arguments.check_non_negative("weight_decay", value)
        self._weight_decay.assign(value)

    @property
    def weight_decay_factors(self):
        """The factor of λ of each variable, in order; None before `build`."""
        return self._decay_factors.current

    @property
    def unmatched_patterns(self):
        """The patterns of the decay that match no variable."""
        return tuple(rule.pattern for rule in self._decay_factors.unmatched)

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
        """How many steps were skipped because they were not possible.

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

    def scheduled_weight_decay(self):
        """Returns λₜ, the coefficient times its schedule, as a tensor."""
        factor = 1.0
        if self.weight_decay_schedule is not None:
            factor = self.weight_decay_schedule(self.schedule_step())
        return self._weight_decay * ops.cast(factor, self._weight_decay.dtype)

    def weight_decay_summary(self, print_fn=print):
        """Prints which variables decay, with what factor, and how.

        Raises:
            ValueError: If the optimizer is not built.
        """
        if not self.built:
            raise ValueError(
                "`weight_decay_summary()` needs the variables; call "
                "`build(model.trainable_variables)` first. Received: "
                f"built={self.built}"
            )
        print_fn(summary.text(self))

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Excludes variables before `build`, as in Keras.

        Args:
            var_list: Variables; these very ones are excluded, whatever others
                have their paths. Those that the optimizer does not train are
                passed over.
            var_names: Patterns as the argument `exclude_from_weight_decay` of
                the constructor takes them.

        Raises:
            ValueError: If the optimizer is built, or a pattern is invalid; at
                the `build` of a new optimizer, if it trains none of `var_list`.
        """
        if self.built:
            raise ValueError(
                "`exclude_from_weight_decay()` must be called before "
                f"`build`. Received: built={self.built}"
            )
        rules = selection.exclusions(
            "var_names", () if var_names is None else var_names
        )
        self._decay_factors.exclude(var_list or (), rules)

    def restrict_weight_decay(self, factors):
        """Multiplies the factors that `build` decided on by others.

        A later call replaces an earlier one: the factors are always those of
        `build` times the ones given last, so ones lift a restriction. It is
        part of the config and of a saved model.

        The factors are constants of a compiled step. One that is compiled
        already must be traced anew: that of `fit` by
        `model.make_train_function(force=True)`, as the callback
        `tfwd.diagnostics.decay_switch.DecayScopeSwitch` does.

        Args:
            factors: A number of at least 0 for each variable of `build`, in
                the same order.

        Raises:
            ValueError: If the optimizer is not built, or the factors are not
                one per variable, finite and at least 0.
        """
        if not self.built:
            raise ValueError(
                "`restrict_weight_decay()` must be called after `build`. "
                f"Received: built={self.built}"
            )
        self._decay_factors.restrict(factors)

    def build(self, variables):
        """Decides which variables decay, once.

        Raises:
            ValueError: If a pattern, or an excluded variable, matches none of
                the variables. Of an optimizer out of a config it is a warning:
                a model may have been frozen since.
        """
        variable_types.check_real_floating(variables)
        self._decay_factors.decide(
            self.name, variables, map(self.is_overwritten, variables)
        )
        super().build(variables)

    def get_config(self):
        """Returns the arguments, what the rules selected, the restriction."""
        config = super().get_config()
        schedule = self.weight_decay_schedule
        if schedule is not None:
            schedule = keras.saving.serialize_keras_object(schedule)
        config.update(
            {name: getattr(self, name) for name in self.hyperparameters},
            weight_decay=_shortest_float(self._weight_decay),
            weight_decay_mode=self.weight_decay_mode,
            weight_decay_schedule=schedule,
            skip_nonfinite=self.skip_nonfinite,
            weight_decay_multipliers={
                rule.pattern: rule.factor
                for rule in self._decay_factors.multipliers
            },
            exclude_from_weight_decay=[
                rule.pattern for rule in self._decay_factors.exclusions
            ],
            **self._decay_factors.get_config(),
        )
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes an optimizer, with what its rules selected if that is known."""
        config = dict(config)
        decided = factors_lib.popped_config(config)
        schedule = config.get("weight_decay_schedule")
        if isinstance(schedule, dict):
            config["weight_decay_schedule"] = (
                keras.saving.deserialize_keras_object(schedule, custom_objects)
            )
        optimizer = super().from_config(config, custom_objects)
        optimizer._decay_factors.restore(**decided)
        return optimizer


def known(variable):
    """Returns the value of an integer variable, None while it is traced."""
    try:
        return int(ops.convert_to_numpy(variable))
    except (NotImplementedError, TypeError):
        return None


def _shortest_float(variable):
    """Returns 0.0005 and not 0.0005000000237487257 for a float32 5e-4."""
    return float(str(ops.convert_to_numpy(variable)[()]))
