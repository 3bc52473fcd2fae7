"""Checks of arguments: each states its rule and the value in one line.

A check of a number, a choice or a switch returns it as Python has it. So a
sweep over `np.linspace` trains as one over floats does, whose products with
tensors keep the tensor's type, and a config is JSON.
"""

import inspect
import math
import numbers
import os
import pathlib

import keras
import numpy as np

_LONGEST = 200
# Steps are int32 on JAX.
LARGEST_STEP = 2**31 - 1


def check_interval(
    name,
    value,
    low,
    high,
    *,
    open_low=False,
    open_high=False,
    is_measured=False,
):
    """Returns a number of an interval as a float.

    Args:
        name: The argument's name, for the message.
        value: The value received: a Python or NumPy number, not a boolean.
        low: Lower end of the interval.
        high: Upper end of the interval; `math.inf` admits every finite number.
        open_low: Whether the lower end itself is refused.
        open_high: Whether the upper end itself is refused.
        is_measured: Whether `value` is a sum in float64 on the host, of any
            size, and nothing that a tensor is multiplied by.

    Raises:
        ValueError: Unless `value` is a number in the interval that float32
            holds, in which optimizers compute (float64 if Keras' floats are):
            not infinite there, nor zero where zero is refused.
    """
    left = "(" if open_low else "["
    right = ")" if open_high or high == math.inf else "]"
    number = _as_float(value)
    inside = (
        number is not None
        and math.isfinite(number)
        and (low < number if open_low else low <= number)
        and (number < high if open_high else number <= high)
    )
    if not inside:
        raise ValueError(
            f"`{name}` must be in {left}{low:g}, {high:g}{right}. "
            f"Received: {name}={shown(value)}"
        )
    if is_measured:
        return number
    holds = np.finfo(
        "float64" if keras.config.floatx() == "float64" else "float32"
    )
    is_lost = open_low and low == 0 and number < float(holds.tiny)
    if is_lost or abs(number) > float(holds.max):
        raise ValueError(
            f"`{name}` must be of a size that {holds.dtype} holds, "
            f"{holds.tiny:.3g} to {holds.max:.3g}. "
            f"Received: {name}={shown(value)}"
        )
    return number


def check_non_negative(name, value):
    """Returns a finite number of at least 0, as `check_interval` does."""
    return check_interval(name, value, 0, math.inf)


def check_positive(name, value):
    """Returns a finite number above 0, as `check_interval` does."""
    return check_interval(name, value, 0, math.inf, open_low=True)


def check_decay_rate(name, value):
    """Returns a number that can weigh a moving average: in [0, 1)."""
    return check_interval(name, value, 0, 1, open_high=True)


def check_integer(name, value, low, high=2**63 - 1):
    """Returns an integer as Python's.

    Raises:
        ValueError: Unless `value` is an integer, not a boolean, of at least
            `low` and at most `high`.
    """
    number = _scalar(value)
    is_integer = isinstance(number, numbers.Integral) and low <= number
    if not is_integer or number > high:
        bound = "" if not is_integer else f" and <= {high}"
        raise ValueError(
            f"`{name}` must be an integer >= {low}{bound}. "
            f"Received: {name}={shown(value)}"
        )
    return int(number)


def check_boolean(name, value):
    """Returns True or False; `ValueError` for anything else.

    The text "false" and the number 0.5 would both count as true.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(
            f"`{name}` must be True or False. Received: {name}={shown(value)}"
        )
    return bool(value)


def check_choice(name, value, choices):
    """Returns one of `choices`, which are strings; `ValueError` if none."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. "
            f"Received: {name}={shown(value)}"
        )
    return str(value)


def check_schedule(name, value):
    """Returns None or a Keras schedule; `ValueError` for anything else."""
    if value is not None and not is_schedule(value):
        raise ValueError(
            f"`{name}` must be a Keras `LearningRateSchedule` or None. "
            f"Received: {name}={shown(value)}"
        )
    return value


def check_learning_rate(value):
    """Returns a float, a Keras schedule, or a callable without arguments."""
    if is_schedule(value) or _takes_nothing(value):
        return value
    if _as_float(value) is None:
        raise ValueError(
            "`learning_rate` must be a number of at least 0, a Keras "
            "`LearningRateSchedule` or a callable without arguments. "
            f"Received: learning_rate={shown(value)}"
        )
    return check_non_negative("learning_rate", value)


def check_name(name, value):
    """Returns the name of a scope; `ValueError` for anything else."""
    if not isinstance(value, str) or not value.strip() or "/" in value:
        raise ValueError(
            f"`{name}` must be a text without a slash. "
            f"Received: {name}={shown(value)}"
        )
    return str(value)


def check_array(name, value, *, is_finite=False):
    """Returns an array in float64; `ValueError` unless it is of real numbers.

    Args:
        name: The argument's name, for the message.
        value: A variable, tensor, array or nested list, copied to the host.
        is_finite: Whether infinity and NaN are refused.
    """
    try:
        array = np.asarray(keras.ops.convert_to_numpy(value))
        if array.dtype.kind in "bcmMOSU":
            raise TypeError(array.dtype)
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be an array of real numbers. "
            f"Received: {name}={shown(value)}"
        ) from None
    if is_finite and not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be finite. Received: {name}={shown(value)}"
        )
    return array


def check_path(name, value):
    """Returns a path; `ValueError` for anything else."""
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(
            f"`{name}` must be a path. Received: {name}={shown(value)}"
        )
    return pathlib.Path(value)


def check_model(name, value):
    """Returns a Keras model; `ValueError` for anything else."""
    if not isinstance(value, keras.Model):
        raise ValueError(
            f"`{name}` must be a Keras model. Received: {name}={shown(value)}"
        )
    return value


def is_schedule(value):
    """Returns whether a value is a Keras schedule."""
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)


def shown(value, form=str):
    """Returns a value as one line that is not long, for a message."""
    try:
        text = " ".join(form(value).split())
    except Exception:  # Of any kind: the class is not known.
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _takes_nothing(value):
    """Returns whether a value can be called without arguments."""
    if not callable(value) or isinstance(value, type):
        return False
    try:
        inspect.signature(value).bind()
    except TypeError:
        return False
    except ValueError:  # One that does not tell.
        return True
    return True


def _scalar(value):
    """Returns a number as Python or NumPy has it, None if it is none."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (bool, np.bool_, np.timedelta64)):
        return None
    return value if isinstance(value, numbers.Real) else None


def _as_float(value):
    """Returns a number as a float, None if it is none."""
    number = _scalar(value)
    if number is None:
        return None
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
