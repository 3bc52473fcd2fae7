"""What is asked of the arguments of a model, each in one line."""

import math


def check_choice(name: str, value, choices):
    """Raises `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. "
            f"Received: {name}={value}"
        )


def check_whole(name: str, value, low: int):
    """Raises `ValueError` unless `value` is at least `low`."""
    if value < low:
        raise ValueError(
            f"`{name}` must be at least {low}. Received: {name}={value}"
        )


def check_width(width):
    """Raises `ValueError` unless `width` is positive and finite."""
    if not 0 < width < math.inf:
        raise ValueError(
            f"`width` must be positive and finite. Received: width={width}"
        )


def check_dropout(model: str, dropout, has_dropout: bool):
    """Raises `ValueError` unless `dropout` is in [0, 1) and has a place."""
    if not has_dropout:
        raise ValueError(
            f"`dropout` must be None for {model}, which has no dropout. "
            f"Received: dropout={dropout}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(
            f"`dropout` must be in [0, 1). Received: dropout={dropout}"
        )


def check_image(model: str, input_shape, smallest: int):
    """Raises `ValueError` unless the shape is of an image that is not small.

    Args:
        model: Its name.
        input_shape: What should be (height, width, channels).
        smallest: The least height and width.
    """
    if len(input_shape) != 3:
        raise ValueError(
            f"`input_shape` must be (height, width, channels) for {model}. "
            f"Received: input_shape={input_shape}"
        )
    if min(input_shape[:2]) < smallest:
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
