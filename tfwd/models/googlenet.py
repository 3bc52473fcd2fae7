"""GoogLeNet (Szegedy et al. 2015) for small images, as Xie et al. 2022."""

import keras

from tfwd.models import dropout as dropout_lib
from tfwd.models import layers as layers_lib

# Channels of 1x1; of 3x3 and of two 3x3, after those of the 1x1 before them;
# of the 1x1 after the pooling.
INCEPTIONS = {
    "a3": (64, (96, 128), (16, 32), 32),
    "b3": (128, (128, 192), (32, 96), 64),
    "a4": (192, (96, 208), (16, 48), 64),
    "b4": (160, (112, 224), (24, 64), 64),
    "c4": (128, (128, 256), (24, 64), 64),
    "d4": (112, (144, 288), (32, 64), 64),
    "e4": (256, (160, 320), (32, 128), 128),
    "a5": (256, (160, 320), (32, 128), 128),
    "b5": (384, (192, 384), (48, 128), 128),
}


def build(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    layers: layers_lib.Layers,
    *,
    dropout: float = 0.4,
) -> keras.Model:
    """A 3x3 stem, nine inceptions, the average over pixels, then Dense.

    All convolutions have biases; there are no auxiliary classifiers, and the
    5x5 of the paper are two 3x3. With 100 classes and width 1 it has 6,258,500
    trainable parameters.

    In the authors' file one normalization in the 5x5 of each inception gets a
    number of channels for its ε; here it has the ε of all others.

    Args:
        name: Of the model.
        input_shape: (height, width, channels).
        num_classes: Number of logits.
        layers: The makers of the layers.
        dropout: Fraction dropped before the last layer.
    """
    inputs = keras.Input(input_shape, name="image")
    x = _conv(inputs, 192, 3, "stem", layers)
    for inception, channels in INCEPTIONS.items():
        if inception in ("a4", "a5"):
            x = layers.pooled(x, f"{inception}_halved")
        x = _inception(x, channels, inception, layers)
    x = layers.averaged(x)
    x = dropout_lib.KeyedDropout(dropout, stream=0, name="dropout")(x)
    return keras.Model(inputs, layers.logits(x, num_classes), name=name)


def _inception(x, channels, name, layers):
    single, (reduced3, wide3), (reduced5, wide5), after_pool = channels
    one = _conv(x, single, 1, f"{name}_1x1", layers)
    three = _conv(x, reduced3, 1, f"{name}_3x3_reduce", layers)
    three = _conv(three, wide3, 3, f"{name}_3x3", layers)
    five = _conv(x, reduced5, 1, f"{name}_5x5_reduce", layers)
    five = _conv(five, wide5, 3, f"{name}_5x5_first", layers)
    five = _conv(five, wide5, 3, f"{name}_5x5_second", layers)
    pool = keras.layers.MaxPooling2D(3, 1, "same", name=f"{name}_pool")(x)
    pool = _conv(pool, after_pool, 1, f"{name}_pool_1x1", layers)
    return keras.layers.Concatenate(name=f"{name}_concat")(
        [one, three, five, pool]
    )


def _conv(x, channels, size, name, layers):
    x = layers.conv(x, layers.scaled(channels), size, name, use_bias=True)
    return layers.activated(x, name)
