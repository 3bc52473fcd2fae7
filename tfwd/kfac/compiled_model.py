"""The K-FAC of a model that is compiled with it."""

import keras

from tfwd import arguments
from tfwd import types
from tfwd.kfac import optimizer as optimizer_lib
from tfwd.kfac import registration
from tfwd.optimizers import wrappers


def attach(
    model: keras.Model, loss: types.Loss | None = None
) -> registration.Report:
    """Attaches the K-FAC that a model is compiled with, wrapped or not.

    Args:
        model: A compiled, built model.
        loss: As in `KFAC.attach`.

    Returns:
        The `registration.Report`.

    Raises:
        ValueError: If the model is not compiled with a K-FAC.
    """
    arguments.check_model("model", model)
    optimizer = wrappers.unwrapped(getattr(model, "optimizer", None))
    if not isinstance(optimizer, optimizer_lib.KFAC):
        raise ValueError(
            "`model` must be compiled with `tfwd.KFAC`. "
            f"Received: optimizer={optimizer!r}"
        )
    return optimizer.attach(model, loss)
