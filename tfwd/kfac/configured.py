"""An optimizer whose arguments stand in one `Configuration`."""

import dataclasses

from tfwd.kfac import configuration as configuration_lib
from tfwd.kfac import damped


class ConfiguredOptimizer(damped.DampedOptimizer):
    """Reads K-FAC's arguments, as attributes too, from its `configuration`.

    Args:
        learning_rate: η.
        weight_decay: λ.
        configuration: A `configuration.Configuration`.
        **base_arguments: See `damped.DampedOptimizer`.
    """

    # The order of the constructor. The damping is a variable.
    hyperparameters = (
        configuration_lib.NAMES[0],
        "damping",
        *configuration_lib.NAMES[1:],
    )

    def __init__(
        self, learning_rate, weight_decay, *, configuration, **base_arguments
    ):
        configuration.check_accumulation(
            base_arguments.get("gradient_accumulation_steps")
        )
        super().__init__(learning_rate, weight_decay, **base_arguments)
        self.configuration = configuration

    def __getattr__(self, name):
        """Returns an argument of the configuration."""
        if name in configuration_lib.NAMES:
            return getattr(self.configuration, name)
        raise AttributeError(
            f"{type(self).__name__!r} has no attribute {name!r}"
        )

    def __setattr__(self, name, value):
        """Sets an attribute; an argument is checked, and fixed by `build`."""
        if name in configuration_lib.NAMES and not self.built:
            value = dataclasses.replace(self.configuration, **{name: value})
            name = "configuration"
        super().__setattr__(name, value)
