"""The check that every gradient has its variable's shape."""

from tfwd.optimizers import selection


def check(gradients, variables):
    """Checks shapes, as far as they are known while a step is traced.

    Arithmetic would broadcast a gradient of shape (1,) over a whole kernel.

    Args:
        gradients: Dense gradients.
        variables: Their variables, in the same order.

    Raises:
        ValueError: If a gradient has not its variable's shape.
    """
    for gradient, variable in zip(gradients, variables, strict=True):
        expected, received = _sizes(variable), _sizes(gradient)
        if received is None or expected is None:
            continue
        matches = len(received) == len(expected) and all(
            None in pair or pair[0] == pair[1]
            for pair in zip(received, expected, strict=True)
        )
        if not matches:
            raise ValueError(
                "`grads` must have the shapes of their variables. Received: "
                f"a gradient of shape {received} for "
                f"{selection.path_of(variable)} of shape {expected}"
            )


def _sizes(tensor):
    """Returns the shape as a tuple, None for an unknown size or rank."""
    shape = tensor.shape
    if getattr(shape, "rank", 0) is None:
        return None
    return tuple(None if n is None else int(n) for n in shape)
