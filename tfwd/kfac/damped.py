"""An optimizer with a damping: a variable or a schedule, saved and checked."""

import math

import keras
import numpy as np
from keras import ops

from tfwd import arguments
from tfwd.optimizers import base
from tfwd.optimizers import decaying


class DampedOptimizer(base.Optimizer):
    """Holds λ so that it can be set between compiled steps, as η and λ can.

    Args:
        learning_rate: η.
        weight_decay: The coefficient of the decay.
        damping: A float > 0, or a Keras `LearningRateSchedule`.
        **base_arguments: See `tfwd.optimizers.base.Optimizer`.
    """

    def __init__(
        self, learning_rate, weight_decay, *, damping, **base_arguments
    ):
        is_schedule = arguments.is_schedule(damping)
        if not is_schedule:
            damping = arguments.check_positive("damping", damping)
        super().__init__(learning_rate, weight_decay, **base_arguments)
        self._damping = (
            damping if is_schedule else self._scalar("damping", damping)
        )

    @property
    def damping(self):
        """The damping: a schedule, or a scalar variable that can be assigned.

        In damping mode `"factored"` a new value enters when the inverses are
        refreshed, in mode `"eigen"` in the next step.
        """
        return self._damping

    @damping.setter
    def damping(self, value):
        if callable(self._damping):
            raise TypeError(
                "`damping` must not be set where it is a schedule; make a new "
                f"optimizer. Received: damping={value}"
            )
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        if not (ops.is_tensor(value) or isinstance(value, keras.Variable)):
            arguments.check_positive("damping", value)
        self._damping.assign(value)

    def damping_now(self):
        """Returns the damping of the step to come, a scalar tensor."""
        if not callable(self._damping):
            return ops.convert_to_tensor(self._damping)
        value = self._damping(self.schedule_step())
        return ops.cast(value, decaying.scalar_dtype())

    def step_is_finite(self, gradients):
        """Returns whether, besides, the damping is finite and above 0."""
        is_finite = super().step_is_finite(gradients)
        return ops.logical_and(is_finite, is_valid(self.damping_now()))

    def load_own_variables(self, store):
        """Loads the variables, also of a file from before damping was one.

        There the config alone has the damping.
        """
        names = [variable.name for variable in self.variables]
        if "damping" in names and len(store.keys()) == len(names) - 1:
            place = names.index("damping")
            values = [store[str(i)] for i in range(len(names) - 1)]
            values.insert(place, ops.convert_to_numpy(self._damping))
            store = {str(i): value for i, value in enumerate(values)}
        super().load_own_variables(store)

    def get_config(self):
        """Returns the arguments, the damping with its value of now."""
        config = super().get_config()
        if callable(self._damping):
            config["damping"] = keras.saving.serialize_keras_object(
                self._damping
            )
        else:
            # 0.1, not the 0.10000000149 that a float32 of it is.
            value = ops.convert_to_numpy(self._damping)
            config["damping"] = float(str(value[()]))
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes an optimizer from what `get_config` returned."""
        config = dict(config)
        if isinstance(config.get("damping"), dict):
            config["damping"] = keras.saving.deserialize_keras_object(
                config["damping"], custom_objects
            )
        return super().from_config(config, custom_objects)


def is_valid(damping):
    """Returns whether a damping is finite and above 0, false for a NaN."""
    return ops.logical_and(damping > 0, damping < math.inf)
