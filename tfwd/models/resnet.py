"""Residual networks (He et al. 2016): for small images, and for ImageNet."""

import dataclasses

import keras

from tfwd.models import layers as layers_lib


@dataclasses.dataclass(frozen=True)
class Form:
    """What one residual network differs in from another.

    Attributes:
        channels: Of each stage, at width 1.
        blocks: How many each stage has.
        bottleneck: Whether a block is 1x1, 3x3 and 1x1 with four times the
            channels, instead of two 3x3.
        large_images: Whether the stem is 7x7 and halves the image twice.
    """

    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    bottleneck: bool = False
    large_images: bool = False


# Zhang et al. 2019 use four times these channels.
THREE_STAGES = {
    "resnet20": Form((16, 32, 64), (3, 3, 3)),
    "resnet32": Form((16, 32, 64), (5, 5, 5)),
    "resnet44": Form((16, 32, 64), (7, 7, 7)),
    "resnet56": Form((16, 32, 64), (9, 9, 9)),
}
_CHANNELS = (64, 128, 256, 512)
FOUR_STAGES = {
    "resnet18": Form(_CHANNELS, (2, 2, 2, 2)),
    "resnet34": Form(_CHANNELS, (3, 4, 6, 3)),
    "resnet50": Form(_CHANNELS, (3, 4, 6, 3), bottleneck=True),
    "resnet50_imagenet": Form(
        _CHANNELS, (3, 4, 6, 3), bottleneck=True, large_images=True
    ),
}
FORMS = {**THREE_STAGES, **FOUR_STAGES}


def build(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    layers: layers_lib.Layers,
) -> keras.Model:
    """A stem, stages of residual blocks, the average over pixels, then Dense.

    The first block of every stage but the first has stride 2. The shortcut is
    the identity, or a normalized 1x1 convolution where the shape changes, of
    every second pixel where the stride is 2.

    Trainable parameters: ResNet32 at width 4 has 7,422,986 with 10 and
    7,446,116 with 100 classes (Zhang et al. 2019); ResNet18 11,173,962 with
    10, ResNet34 21,328,292 with 100 (Xie et al. 2022); ResNet50 for ImageNet
    25,557,032 with 1000, as in torchvision, whose kernels are He normal
    instead.

    Args:
        name: One of `FORMS`.
        input_shape: (height, width, channels).
        num_classes: Number of logits.
        layers: The makers of the layers.
    """
    form = FORMS[name]
    inputs = keras.Input(input_shape, name="image")
    x = _stem(inputs, form, layers)
    for stage, count in enumerate(form.blocks):
        channels = layers.scaled(form.channels[stage])
        for number in range(count):
            x = _block(
                x,
                channels,
                2 if stage > 0 and number == 0 else 1,
                form.bottleneck,
                f"stage{stage + 1}_block{number + 1}",
                layers,
            )
    x = layers.averaged(x)
    return keras.Model(inputs, layers.logits(x, num_classes), name=name)


def _stem(x, form, layers):
    channels = layers.scaled(form.channels[0])
    if not form.large_images:
        x = layers.conv(x, channels, 3, "stem")
        return layers.activated(x, "stem")
    x = layers.conv(x, channels, 7, "stem", strides=2)
    return layers.pooled(layers.activated(x, "stem"), "stem_pool")


def _block(x, channels, strides, bottleneck, name, layers):
    """Returns relu(shortcut(x) + f(x))."""
    # Sizes of the windows, their strides, and channels of their results.
    convolutions = ((3, strides, channels), (3, 1, channels))
    if bottleneck:
        convolutions = (
            (1, 1, channels),
            (3, strides, channels),
            (1, 1, 4 * channels),
        )
    y = x
    for number, (size, stride, filters) in enumerate(convolutions, start=1):
        if number > 1:
            y = keras.layers.ReLU(name=f"{name}_conv{number - 1}_relu")(y)
        layer = f"{name}_conv{number}"
        y = layers.conv(y, filters, size, layer, strides=stride)
        y = layers.normalized(y, layer)
    if strides > 1 or x.shape[-1] != y.shape[-1]:
        layer = f"{name}_shortcut"
        x = layers.conv(x, y.shape[-1], 1, layer, strides=strides)
        x = layers.normalized(x, layer)
    x = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.ReLU(name=f"{name}_relu")(x)
