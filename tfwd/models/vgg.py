"""VGG for images of 32x32 and more, in the form of Zhang et al. 2019."""

import keras

from tfwd.models import parts

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
    *,
    width: float = 1.0,
    batch_norm: bool = True,
) -> keras.Model:
    """Five blocks of 3x3 convolutions, each halved by pooling, then Dense.

    A convolution is Conv-[norm]-ReLU, with bias and zero padding. There is no
    dropout and no hidden dense layer. With 10 classes and `width` 1, VGG11,
    13, 16, 19 have 9,225,610, 9,410,122, 14,719,818 and 20,029,514
    trainable parameters.

    Args:
        name: one of `CONVOLUTIONS`.
        input_shape: (height, width, channels), at least 32x32.
        num_classes: number of logits.
        width: multiplies the channels of every convolution.
        batch_norm: whether pre-activations are normalized.

    Raises:
        ValueError: the image is smaller than 32x32.
    """
    if min(input_shape[:2]) < 2 ** len(CHANNELS):
        raise ValueError(
            f"`input_shape` must be at least 32x32 for {name}, which halves "
            f"the image five times. Received: input_shape={input_shape}"
        )
    inputs = keras.Input(input_shape, name="image")
    x = inputs
    blocks = zip(CHANNELS, CONVOLUTIONS[name], strict=True)
    for block, (channels, convolutions) in enumerate(blocks, start=1):
        for number in range(1, convolutions + 1):
            layer = f"block{block}_conv{number}"
            x = keras.layers.Conv2D(
                parts.scaled(channels, width), 3, padding="same", name=layer
            )(x)
            x = parts.activated(x, layer, batch_norm)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, parts.logits(x, num_classes), name=name)
