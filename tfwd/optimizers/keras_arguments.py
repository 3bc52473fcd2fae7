"""Checks of the arguments that Keras' own optimizer takes and documents.

Keras checks some of them, and only where they are used: a bound of the norm
that is infinite makes every weight NaN in the first step.
"""

from tfwd import arguments


def checked(received):
    """Returns the arguments as Python has them.

    Args:
        received: A dict of arguments of `keras.optimizers.Optimizer`; one
            that is not known here is left to Keras.

    Raises:
        ValueError: If an argument breaks its rule, or two bounds of the
            gradient are given together.
    """
    checked = {
        name: _CHECKS[name](name, value) if name in _CHECKS else value
        for name, value in received.items()
    }
    bounds = [name for name in _BOUNDS if checked.get(name) is not None]
    if len(bounds) > 1:
        others = " and ".join(f"`{name}`" for name in bounds[1:])
        values = ", ".join(f"{name}={checked[name]}" for name in bounds)
        raise ValueError(
            f"`{bounds[0]}` must not be given together with {others}. "
            f"Received: {values}"
        )
    return checked


def _positive_or_none(name, value):
    return None if value is None else arguments.check_positive(name, value)


def _name_or_none(name, value):
    return None if value is None else arguments.check_name(name, value)


def _fraction(name, value):
    return arguments.check_interval(name, value, 0, 1)


def _steps_or_none(least):
    def check(name, value):
        if value is None:
            return None
        highest = arguments.LARGEST_STEP
        return arguments.check_integer(name, value, least, highest)

    return check


_BOUNDS = ("clipnorm", "clipvalue", "global_clipnorm")
_CHECKS = {
    **dict.fromkeys(_BOUNDS, _positive_or_none),
    "use_ema": arguments.check_boolean,
    "ema_momentum": _fraction,
    "ema_overwrite_frequency": _steps_or_none(1),
    "loss_scale_factor": _positive_or_none,
    "gradient_accumulation_steps": _steps_or_none(2),
    "name": _name_or_none,
}
