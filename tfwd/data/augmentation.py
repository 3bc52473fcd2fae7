"""Random crop and horizontal flip that depend on (seed, epoch, example) alone.

A counter-based hash draws them, so an example looks the same in its epoch
whatever the batch, the replica or the process it falls into, and after a
restart. Images are `[batch, height, width, channels]`, per-example numbers
`[batch]`.
"""

import math

import tensorflow as tf

PADDING = 4
NUM_OFFSETS = 2 * PADDING + 1

# A random resized crop: its part of the area, its width / height, and how
# often a window that does not fit is drawn again.
AREAS = (0.08, 1.0)
RATIOS = (3 / 4, 4 / 3)
TRIES = 10


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


def draw(keys: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws where to crop and whether to flip, one of 9 x 9 x 2 variants.

    Args:
        keys: uint32, from `hashed`.

    Returns:
        top and left, int32 in 0..8, and flip, bool; all `[batch]`.
    """
    variant = tf.cast(keys, tf.int64)
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


def uniforms(keys: tf.Tensor, count: int) -> tf.Tensor:
    """Returns `count` numbers in [0, 1) per key, float32 `[..., count]`.

    Number i is the upper 24 bits of mix(key ^ mix(i + 1)), over 2^24.
    """
    streams = mix(tf.cast(tf.range(1, count + 1), tf.uint32))
    words = mix(tf.bitwise.bitwise_xor(keys[..., None], streams))
    upper = tf.bitwise.right_shift(words, tf.constant(8, tf.uint32))
    return tf.cast(upper, tf.float32) / 2**24


def crop_window(
    key: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> tf.Tensor:
    """Draws the window of a random resized crop (Szegedy et al. 2015).

    The area is uniform in 8 to 100 % of the image, the logarithm of
    width / height uniform between those of 3/4 and 4/3. If none of ten draws
    fits into the image, the window is the largest in the middle whose ratio
    is allowed.

    Args:
        key: uint32 scalar.
        height: of the image in pixels, int32 scalar.
        width: likewise.

    Returns:
        (top, left, height, width), int32 `[4]`.
    """
    draws = uniforms(key, 2 * TRIES + 2)
    low, high = (math.log(ratio) for ratio in RATIOS)
    ratios = tf.exp(low + (high - low) * draws[:TRIES])
    share = AREAS[0] + (AREAS[1] - AREAS[0]) * draws[TRIES : 2 * TRIES]
    areas = share * tf.cast(height * width, tf.float32)
    widths = rounded(tf.sqrt(areas * ratios))
    heights = rounded(tf.sqrt(areas / ratios))
    fits = (widths <= width) & (heights <= height)
    fits &= (widths > 0) & (heights > 0)
    sizes = tf.boolean_mask(tf.stack([heights, widths], 1), fits)
    whole = tf.stack([height, width])
    widest = rounded(RATIOS[1] * tf.cast(whole[::-1], tf.float32))
    # One row more, which is the first where nothing fits.
    sizes = tf.concat([sizes, tf.minimum(whole, widest)[None]], 0)
    room = tf.cast(whole - sizes[0] + 1, tf.float32)
    place = tf.where(tf.reduce_any(fits), draws[-2:], 0.5)
    corner = tf.minimum(tf.cast(room * place, tf.int32), whole - sizes[0])
    return tf.concat([corner, sizes[0]], 0)


def rounded(x: tf.Tensor) -> tf.Tensor:
    """Returns the nearest integers, int32."""
    return tf.cast(tf.round(x), tf.int32)
