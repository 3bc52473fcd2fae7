"""Which shapes of inputs a model can take, each rule in one line."""

from tfwd import arguments

LARGEST_SIZE = 2**31 - 1


def check_shape(input_shape) -> tuple:
    """Returns a shape as a tuple of ints and None; `ValueError` for others."""
    try:
        if not isinstance(input_shape, (list, tuple)):
            raise ValueError
        return tuple(
            None if size is None else check_size("input_shape", size)
            for size in input_shape
        )
    except ValueError:
        raise ValueError(
            "`input_shape` must be a tuple of positive integers, or None for "
            "a size that is free. "
            f"Received: input_shape={arguments.shown(input_shape)}"
        ) from None


def check_size(name: str, value, low: int = 1) -> int:
    """Returns an integer of at least `low`; `ValueError` for others."""
    return arguments.check_integer(name, value, low, LARGEST_SIZE)


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
