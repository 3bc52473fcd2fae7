"""The papers' models as plain functions, on every Keras backend."""

import keras

from tfwd.models import mlp
from tfwd.models import vgg

__all__ = ["NAMES", "build"]

NAMES = ("mlp", *vgg.CONVOLUTIONS)


def build(
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    width: float = 1.0,
    batch_norm: bool = True,
    hidden_layers: int = 2,
    hidden_units: int = 128,
) -> keras.Model:
    """Builds a functional model that maps images to logits.

    Kernels start Glorot uniform and biases, which every layer has, at zero
    (Keras' own defaults; Zhang et al. 2019).

    Args:
        name: one of `NAMES`.
        input_shape: shape of one image, channels last.
        num_classes: number of logits.
        width: multiplies channels and hidden units, rounded, at least 1.
        batch_norm: batch normalization without scale and shift before every
            ReLU, never on the logits.
        hidden_layers: of the MLP; 0 is linear classification.
        hidden_units: of each hidden layer of the MLP at `width` 1.

    Raises:
        ValueError: a name that is not in `NAMES`, a size that is not
            positive, or an image too small for a VGG.
    """
    if name not in NAMES:
        raise ValueError(
            f"`name` must be one of {', '.join(NAMES)}. Received: name={name}"
        )
    if not 0 < width < float("inf"):
        raise ValueError(
            f"`width` must be positive and finite. Received: width={width}"
        )
    if num_classes < 1:
        raise ValueError(
            "`num_classes` must be at least 1. "
            f"Received: num_classes={num_classes}"
        )
    if hidden_layers < 0:
        raise ValueError(
            "`hidden_layers` must be at least 0. "
            f"Received: hidden_layers={hidden_layers}"
        )
    if hidden_units < 1:
        raise ValueError(
            "`hidden_units` must be at least 1. "
            f"Received: hidden_units={hidden_units}"
        )
    if name == "mlp":
        return mlp.build(
            input_shape,
            num_classes,
            width=width,
            batch_norm=batch_norm,
            hidden_layers=hidden_layers,
            hidden_units=hidden_units,
        )
    return vgg.build(
        name, input_shape, num_classes, width=width, batch_norm=batch_norm
    )
