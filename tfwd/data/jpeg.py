"""JPEG images to squares of uint8, `[height, width, 3]`, one at a time."""

import tensorflow as tf

from tfwd.data import augmentation

# Before the central crop, the shorter side is this many times its size.
RESIZED = 256 / 224


def random_crop(encoded: tf.Tensor, key: tf.Tensor, size: int) -> tf.Tensor:
    """Decodes a random window of a JPEG, resizes it and may mirror it.

    Args:
        encoded: a string.
        key: uint32; determines the window, and by its lowest bit the mirror.
        size: height and width of the result.

    Returns:
        uint8 `[size, size, 3]`.
    """
    height, width, _ = tf.unstack(shape_of(encoded))
    window = augmentation.crop_window(key, height, width)
    image = tf.io.decode_and_crop_jpeg(encoded, window, channels=3)
    image = resized(image, (size, size))
    return tf.cond(
        key % 2 == 1, lambda: tf.reverse(image, axis=[1]), lambda: image
    )


def central_crop(encoded: tf.Tensor, size: int) -> tf.Tensor:
    """Decodes a JPEG, resizes its shorter side to 8/7 size, crops the middle.

    Args:
        encoded: a string.
        size: height and width of the result.

    Returns:
        uint8 `[size, size, 3]`.
    """
    image = tf.io.decode_jpeg(encoded, channels=3)
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = round(RESIZED * size) / tf.reduce_min(shape)
    shape = augmentation.rounded(shape * scale)
    top, left = tf.unstack((shape - size) // 2)
    image = resized(image, shape)[top : top + size, left : left + size]
    return tf.ensure_shape(image, (size, size, 3))


def shape_of(encoded: tf.Tensor) -> tf.Tensor:
    """Returns (height, width, channels) of a JPEG, int32.

    An error for anything else. The decoder would print a line about it, but
    not about an empty string.
    """
    return tf.io.extract_jpeg_shape(
        tf.where(tf.io.is_jpeg(encoded), encoded, "")
    )


def resized(image: tf.Tensor, shape) -> tf.Tensor:
    """Resizes bilinearly, without smoothing, to uint8 of (height, width)."""
    image = tf.image.resize(image, shape, method="bilinear")
    return tf.cast(tf.round(image), tf.uint8)
