"""Records of images and labels: `tf.train.Example`s, as tensors.

A feature `image` holds an encoded image, a feature `label` its class.
"""

import tensorflow as tf
from google.protobuf import message

from tfwd.data import description
from tfwd.data import folder as folder_lib

_FEATURES = {
    "image": tf.io.FixedLenFeature((), tf.string),
    "label": tf.io.FixedLenFeature((), tf.int64),
}


def parsed(
    serialized: tf.Tensor, num_classes: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns encoded images and labels.

    A label out of range is an error here, on every device. A loss would take
    it for NaN on an accelerator.

    Args:
        serialized: Strings, of any shape.
        num_classes: Labels must be in `[0, num_classes)`.

    Returns:
        Strings and int32, of the same shape.
    """
    example = tf.io.parse_example(serialized, _FEATURES)
    # Before the cast, which drops the upper half.
    labels = example["label"]
    in_range = tf.reduce_all((labels >= 0) & (labels < num_classes))
    tf.debugging.Assert(in_range, ["a label out of range"])
    return example["image"], tf.cast(labels, tf.int32)


def image(encoded: tf.Tensor, shape: tuple[int | None, ...]) -> tf.Tensor:
    """Decodes an image, uint8.

    Args:
        encoded: A string.
        shape: (height, width, channels) that it must have; None is any.
    """
    decoded = tf.io.decode_image(
        encoded, channels=shape[-1], expand_animations=False
    )
    return tf.ensure_shape(decoded, shape)


def explained(serialized: bytes, features: description.Features, decode) -> str:
    """Says why a record cannot be read.

    Args:
        serialized: The record.
        features: What it must hold.
        decode: Function of an encoded image that fails where training does.
    """
    try:
        example = tf.train.Example.FromString(serialized)
    except message.DecodeError:
        return "it is no tf.train.Example"
    found = example.features.feature
    images = found["image"].bytes_list.value
    labels = found["label"].int64_list.value
    for key, values in (("image", images), ("label", labels)):
        if len(values) != 1:
            return f"it has {len(values)} values of the feature `{key}`, not 1"
    last = features.num_classes - 1
    if not 0 <= labels[0] <= last:
        return f"its label is {labels[0]}, which is not in 0..{last}"
    try:
        decode(tf.constant(images[0]))
    except tf.errors.OpError as error:
        # The size is not that of the image where `jpeg` has put in another.
        reason = folder_lib.reason_of(error).partition(", size ")[0]
        return f"its image cannot be decoded ({reason})"
    return "it cannot be read"
