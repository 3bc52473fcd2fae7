"""DenseNet-BC (Huang et al. 2017) for small images, as Xie et al. 2022."""

import keras

from tfwd.models import layers as layers_lib

GROWTH = 32
BLOCKS = {"densenet121": (6, 12, 24, 16)}


def build(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    layers: layers_lib.Layers,
) -> keras.Model:
    """A 3x3 stem, four dense blocks with transitions between, then Dense.

    Normalization and ReLU come before the convolutions, so a layer `conv` has
    its own normalization in `conv_norm` in front of it. DenseNet121 with 100
    classes has 7,048,548 trainable parameters at width 1.

    Args:
        name: One of `BLOCKS`.
        input_shape: (height, width, channels), at least 8x8.
        num_classes: Number of logits.
        layers: The makers of the layers; their width multiplies the growth
            rate, from which all channels follow.
    """
    growth = layers.scaled(GROWTH)
    inputs = keras.Input(input_shape, name="image")
    x = layers.conv(inputs, 2 * growth, 3, "stem")
    counts = BLOCKS[name]
    for block, count in enumerate(counts, start=1):
        for number in range(1, count + 1):
            x = _grown(x, growth, f"block{block}_layer{number}", layers)
        if block < len(counts):
            x = _halved(x, f"transition{block}", layers)
    x = layers.averaged(layers.activated(x, "last"))
    return keras.Model(inputs, layers.logits(x, num_classes), name=name)


def _grown(x, growth, name, layers):
    """Puts `growth` new channels before those of `x`."""
    y = layers.activated(x, f"{name}_conv1")
    y = layers.conv(y, 4 * growth, 1, f"{name}_conv1")
    y = layers.activated(y, f"{name}_conv2")
    y = layers.conv(y, growth, 3, f"{name}_conv2")
    return keras.layers.Concatenate(name=f"{name}_concat")([y, x])


def _halved(x, name, layers):
    """Halves channels, then height and width."""
    filters = x.shape[-1] // 2
    x = layers.conv(layers.activated(x, name), filters, 1, name)
    return keras.layers.AveragePooling2D(2, name=f"{name}_pool")(x)
