"""What is asked of the arguments of a model, each in one line."""

import numbers

import numpy as np

_LARGEST = 2**31 - 1
_LONGEST = 200


def check_choice(name: str, value, choices):
    """Raises `ValueError` unless `value` is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. "
            f"Received: {name}={shown(value)}"
        )


def check_boolean(name: str, value) -> bool:
    """Returns True or False; `ValueError` for anything else."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(
            f"`{name}` must be True or False. Received: {name}={shown(value)}"
        )
    return bool(value)


def check_whole(name: str, value, low: int) -> int:
    """Returns an integer, which must be at least `low`."""
    number = _whole(value)
    if number is None or not low <= number <= _LARGEST:
        raise ValueError(
            f"`{name}` must be an integer of at least {low}. "
            f"Received: {name}={shown(value)}"
        )
    return int(number)


def check_width(width) -> float:
    """Returns the width, which must be positive and finite."""
    number = _number(width)
    if number is None or not 0 < number <= _LARGEST:
        raise ValueError(
            "`width` must be positive and finite. "
            f"Received: width={shown(width)}"
        )
    return float(number)


def check_dropout(model: str, dropout, has_dropout: bool) -> float:
    """Returns the rate, which must be in [0, 1) and have a place."""
    if not has_dropout:
        raise ValueError(
            f"`dropout` must be None for {model}, which has no dropout. "
            f"Received: dropout={shown(dropout)}"
        )
    return check_rate("dropout", dropout)


def check_rate(name: str, value) -> float:
    """Returns the share that is dropped, which must be in [0, 1)."""
    number = _number(value)
    if number is None or not 0 <= number < 1:
        raise ValueError(
            f"`{name}` must be in [0, 1). Received: {name}={shown(value)}"
        )
    return float(number)


def check_shape(input_shape) -> tuple:
    """Returns a shape as a tuple of ints and None; `ValueError` for others."""
    is_shape = isinstance(input_shape, (list, tuple))
    sizes = [_whole(size) for size in input_shape] if is_shape else []
    if not is_shape or any(
        each is not None and (size is None or not 1 <= size <= _LARGEST)
        for each, size in zip(input_shape, sizes, strict=True)
    ):
        raise ValueError(
            "`input_shape` must be a tuple of positive integers, or None for "
            f"a size that is free. Received: input_shape={shown(input_shape)}"
        )
    return tuple(None if size is None else int(size) for size in sizes)


def check_fixed(model: str, input_shape):
    """Raises `ValueError` if the shape of what is flattened is not fixed."""
    if None in input_shape:
        raise ValueError(
            f"`input_shape` must have no free size for {model}. "
            f"Received: input_shape={input_shape}"
        )


def check_image(model: str, input_shape, smallest: int, is_fixed: bool):
    """Raises `ValueError` unless the shape is of an image that is not small.

    Args:
        model: Its name.
        input_shape: What should be (height, width, channels).
        smallest: The least height and width.
        is_fixed: Whether height and width must be known, as those of what is
            flattened; a mean over all pixels takes any.
    """
    if len(input_shape) != 3:
        raise ValueError(
            f"`input_shape` must be (height, width, channels) for {model}. "
            f"Received: input_shape={input_shape}"
        )
    check_fixed(model, input_shape if is_fixed else input_shape[2:])
    if any(size is not None and size < smallest for size in input_shape[:2]):
        raise ValueError(
            f"`input_shape` must be at least {smallest}x{smallest} for "
            f"{model}. Received: input_shape={input_shape}"
        )


def check_text(model: str, input_shape):
    """Raises `ValueError` unless the shape is of a text."""
    if len(input_shape) != 1:
        raise ValueError(
            f"`input_shape` must be (time,) for {model}. "
            f"Received: input_shape={input_shape}"
        )


def shown(value) -> str:
    """Returns a value as one line that is not long, for a message."""
    try:
        text = " ".join(str(value).split())
    except Exception:  # Of any kind: the class is not known.
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _number(value):
    """Returns a number as Python has it, None if it is none."""
    if isinstance(value, (np.generic, np.ndarray)):
        is_number = np.ndim(value) == 0 and value.dtype.kind in "iuf"
        return value.item() if is_number else None
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return value if is_number else None


def _whole(value):
    number = _number(value)
    return number if isinstance(number, numbers.Integral) else None
