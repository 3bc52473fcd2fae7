"""The multilayer perceptron of Zhang et al. 2019."""

import keras

from tfwd.models import layers as layers_lib


def build(
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    layers: layers_lib.Layers,
    *,
    hidden_layers: int = 2,
    hidden_units: int = 128,
) -> keras.Model:
    """Flatten, then `hidden_layers` times Dense-[norm]-ReLU, then Dense.

    With n inputs, h = hidden_units * width rounded, d hidden layers and K
    classes the trainable parameters are (n + 1) h + (d - 1)(h + 1) h +
    (h + 1) K for d >= 1, and 2 d h more where normalization is affine.

    Args:
        name: Of the model.
        input_shape: Shape of one example.
        num_classes: Number of logits.
        layers: The makers of the layers.
        hidden_layers: 0 is linear classification.
        hidden_units: Of each hidden layer at width 1.
    """
    inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Flatten(name="flatten")(inputs)
    for number in range(1, hidden_layers + 1):
        layer = f"hidden{number}"
        x = layers.dense(x, layers.scaled(hidden_units), layer)
        x = layers.activated(x, layer)
    return keras.Model(inputs, layers.logits(x, num_classes), name=name)
