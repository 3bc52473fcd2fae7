"""The multilayer perceptron of Zhang et al. 2019."""

import keras

from tfwd.models import parts


def build(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    width: float = 1.0,
    batch_norm: bool = True,
    hidden_layers: int = 2,
    hidden_units: int = 128,
) -> keras.Model:
    """Flatten, then `hidden_layers` times Dense-[norm]-ReLU, then Dense.

    With n inputs, h = hidden_units * width rounded, d hidden layers and K
    classes the trainable parameters are (n + 1) h + (d - 1)(h + 1) h +
    (h + 1) K for d >= 1, with or without normalization.
    """
    inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Flatten(name="flatten")(inputs)
    for number in range(1, hidden_layers + 1):
        name = f"hidden{number}"
        x = keras.layers.Dense(parts.scaled(hidden_units, width), name=name)(x)
        x = parts.activated(x, name, batch_norm)
    return keras.Model(inputs, parts.logits(x, num_classes), name="mlp")
