"""VGG for images of 32x32 and more, in the form of Zhang et al. 2019."""

import keras

from tfwd.models import layers as layers_lib

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


def build(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    layers: layers_lib.Layers,
) -> keras.Model:
    """Five blocks of 3x3 convolutions, each halved by pooling, then Dense.

    A convolution is Conv-[norm]-ReLU, with bias and zero padding. There is no
    dropout and no hidden dense layer. With 10 classes and width 1, VGG11, 13,
    16, 19 have 9,225,610, 9,410,122, 14,719,818 and 20,029,514 trainable
    parameters (Zhang et al. 2019). The VGG16 of Xie et al. 2022 is the same
    but for its affine normalization, which makes 14,728,266.

    Args:
        name: One of `CONVOLUTIONS`.
        input_shape: (height, width, channels), at least 32x32.
        num_classes: Number of logits.
        layers: The makers of the layers.
    """
    inputs = keras.Input(input_shape, name="image")
    x = inputs
    blocks = zip(CHANNELS, CONVOLUTIONS[name], strict=True)
    for block, (channels, convolutions) in enumerate(blocks, start=1):
        for number in range(1, convolutions + 1):
            layer = f"block{block}_conv{number}"
            filters = layers.scaled(channels)
            x = layers.conv(x, filters, 3, layer, use_bias=True)
            x = layers.activated(x, layer)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, layers.logits(x, num_classes), name=name)
