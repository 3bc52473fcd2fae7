"""Random crop and horizontal flip that depend on (seed, epoch, example) alone.

A counter-based hash draws them, so an example looks the same in its epoch
whatever the batch, the replica or the process it falls into, and after a
restart. Images are `[batch, height, width, channels]`, per-example numbers
`[batch]`.
"""

import tensorflow as tf

PADDING = 4
NUM_OFFSETS = 2 * PADDING + 1


def mix(x: tf.Tensor) -> tf.Tensor:
    """Scrambles uint32 words one to one; `lowbias32` of C. Wellons (2018)."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, shift)) * factor
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, 16))


def hashed(seed: int, epoch: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Returns one uint32 per index: mix(mix(mix(seed') ^ epoch) ^ index).

    seed' = seed + 0x9e3779b9 modulo 2^32, because `mix` leaves 0 where it is.
    """
    x = mix(tf.constant((seed + 0x9E3779B9) % 2**32, tf.uint32))
    x = mix(tf.bitwise.bitwise_xor(x, tf.cast(epoch, tf.uint32)))
    return mix(tf.bitwise.bitwise_xor(x, tf.cast(indices, tf.uint32)))


def draw(
    seed: int, epoch: tf.Tensor, indices: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws where to crop and whether to flip, one of 9 x 9 x 2 variants.

    Returns:
        top and left, int32 in 0..8, and flip, bool; all `[batch]`.
    """
    variant = tf.cast(hashed(seed, epoch, indices), tf.int64)
    variant = tf.cast(variant % (2 * NUM_OFFSETS**2), tf.int32)
    offset, flip = variant // 2, variant % 2 == 1
    return offset // NUM_OFFSETS, offset % NUM_OFFSETS, flip


def crop_and_flip(
    images: tf.Tensor, top: tf.Tensor, left: tf.Tensor, flip: tf.Tensor
) -> tf.Tensor:
    """Pads each side with 4 black pixels, crops to the old size, mirrors.

    Args:
        images: any dtype, before normalization, so that zero is black.
        top: first row of the crop in the padded image.
        left: first column of the crop in the padded image.
        flip: whether left and right are exchanged after the crop.
    """
    height, width = images.shape[1:3]
    rows = top[:, None] + tf.range(height)
    columns = left[:, None] + tf.range(width)
    columns = tf.where(flip[:, None], columns[:, ::-1], columns)
    sides = [PADDING, PADDING]
    padded = tf.pad(images, [[0, 0], sides, sides, [0, 0]])
    cropped = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(cropped, columns, axis=2, batch_dims=1)
