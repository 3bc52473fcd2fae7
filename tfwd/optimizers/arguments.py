"""Checks of constructor arguments: each states its rule and the value."""

import math
import numbers

import keras


def check_interval(name, value, low, high, *, open_low=False, open_high=False):
    """Raises `ValueError` unless `value` is a number in the interval.

    Args:
        name: The argument's name, for the message.
        value: The value received.
        low: Lower end of the interval.
        high: Upper end of the interval; `math.inf` admits every finite number.
        open_low: Whether the lower end itself is refused.
        open_high: Whether the upper end itself is refused.
    """
    left = "(" if open_low else "["
    right = ")" if open_high or high == math.inf else "]"
    inside = (
        isinstance(value, numbers.Real)
        and math.isfinite(value)
        and (low < value if open_low else low <= value)
        and (value < high if open_high else value <= high)
    )
    if not inside:
        raise ValueError(
            f"`{name}` must be in {left}{low:g}, {high:g}{right}. "
            f"Received: {name}={value}"
        )


def check_non_negative(name, value):
    """Raises `ValueError` unless `value` is a finite number of at least 0."""
    check_interval(name, value, 0, math.inf)


def check_positive(name, value):
    """Raises `ValueError` unless `value` is a finite number above 0."""
    check_interval(name, value, 0, math.inf, open_low=True)


def check_decay_rate(name, value):
    """Raises `ValueError` unless `value` can weigh a moving average: [0, 1)."""
    check_interval(name, value, 0, 1, open_high=True)


def check_whole(name, value, low):
    """Raises `ValueError` unless `value` is an integer of at least `low`."""
    is_whole = isinstance(value, numbers.Integral)
    is_whole = is_whole and not isinstance(value, bool)
    if not (is_whole and value >= low):
        raise ValueError(
            f"`{name}` must be an integer >= {low}. Received: {name}={value}"
        )


def check_choice(name, value, choices):
    """Raises `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. "
            f"Received: {name}={value}"
        )


def check_schedule(name, value):
    """Raises `ValueError` unless `value` is None or a Keras schedule."""
    schedule = keras.optimizers.schedules.LearningRateSchedule
    if value is not None and not isinstance(value, schedule):
        raise ValueError(
            f"`{name}` must be a Keras `LearningRateSchedule` or None. "
            f"Received: {name}={value!r}"
        )


def check_holds_squares(variables):
    """Raises `ValueError` if a variable is of float16.

    The square of a gradient of 1e-4 is zero there, and so is an ε of 1e-8.
    """
    for variable in variables:
        if keras.backend.standardize_dtype(variable.dtype) == "float16":
            raise ValueError(
                "Variables must not be float16, which cannot hold squares of "
                "gradients; the policy 'mixed_float16' keeps them in float32. "
                f"Received: {variable.path} of float16"
            )
