"""The pieces that every model here is put together from."""

import keras


def scaled(units: int, width: float) -> int:
    """Returns `units * width`, rounded, at least 1."""
    return max(1, round(units * width))


def activated(x, name: str, batch_norm: bool):
    """Normalizes the pre-activation `x` if asked to, then applies ReLU.

    The normalization has neither scale nor shift (Zhang et al. 2019): the
    layer before keeps its bias, and nothing but its weights is trained.
    """
    if batch_norm:
        x = keras.layers.BatchNormalization(
            momentum=0.99,
            epsilon=1e-3,
            center=False,
            scale=False,
            name=f"{name}_norm",
        )(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def logits(x, num_classes: int):
    """Ends a model: one score per class, without softmax."""
    return keras.layers.Dense(num_classes, name="logits")(x)
