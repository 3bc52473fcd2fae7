"""Crop and flip do what numpy does, drawn fairly and one by one."""

import numpy as np
import tensorflow as tf

from tfwd.data import augmentation


def reference_hash(seed, epoch, index):
    """The documented hash in Python integers."""

    def mix(x):
        x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
        x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
        return x ^ (x >> 16)

    return mix(mix(mix((seed + 0x9E3779B9) & 0xFFFFFFFF) ^ epoch) ^ index)


def drawn(seed, epoch, indices):
    epoch = tf.constant(epoch, tf.int64)
    return [
        tensor.numpy()
        for tensor in augmentation.draw(seed, epoch, tf.constant(indices))
    ]


def test_the_hash_equals_the_one_in_python_integers():
    indices = [0, 1, 2, 49999, 2**31 - 1]
    for seed, epoch in ((0, 0), (1, 0), (2**40 + 3, 199), (-1, 7)):
        hashes = augmentation.hashed(
            seed, tf.constant(epoch, tf.int64), tf.constant(indices)
        )
        assert hashes.numpy().tolist() == [
            reference_hash(seed, epoch, index) for index in indices
        ]


def test_a_draw_splits_the_hash_into_top_left_and_flip():
    indices = np.arange(500)
    tops, lefts, flips = drawn(3, 5, indices)
    for index, top, left, flip in zip(indices, tops, lefts, flips, strict=True):
        variant = reference_hash(3, 5, int(index)) % 162
        assert (top, left, flip) == (
            variant // 18,
            variant // 2 % 9,
            bool(variant % 2),
        )


def test_all_variants_are_equally_frequent():
    """Chi-squared over 162 variants: mean 161, standard deviation 18."""
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        top, left, flip = drawn(seed, epoch, np.arange(50_000))
        counts = np.bincount((top * 9 + left) * 2 + flip, minlength=162)
        expected = 50_000 / 162
        statistic = np.sum((counts - expected) ** 2 / expected)
        assert 161 - 4 * 18 < statistic < 161 + 4 * 18


def test_draws_of_neighbouring_seeds_epochs_and_examples_are_unrelated():
    """Equal variants are as rare as chance has it: 1/162, sd 3.5e-4."""
    n = 50_000
    base = np.stack(drawn(0, 0, np.arange(n)))
    others = [
        drawn(0, 1, np.arange(n)),
        drawn(1, 0, np.arange(n)),
        drawn(0, 0, np.arange(1, n + 1)),
    ]
    for other in others:
        equal = np.mean(np.all(base == np.stack(other), axis=0))
        assert abs(equal - 1 / 162) < 4 * 3.5e-4


def test_crop_and_flip_equal_numpy_slices():
    generator = np.random.default_rng(0)
    images = generator.integers(1, 256, (162, 6, 5, 3), dtype=np.uint8)
    top, left, flip = np.unravel_index(np.arange(162), (9, 9, 2))
    result = augmentation.crop_and_flip(
        tf.constant(images),
        tf.constant(top, tf.int32),
        tf.constant(left, tf.int32),
        tf.constant(flip == 1),
    )
    assert result.dtype == tf.uint8
    for i, image in enumerate(images):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
        crop = padded[top[i] : top[i] + 6, left[i] : left[i] + 5]
        expected = crop[:, ::-1] if flip[i] else crop
        np.testing.assert_array_equal(result[i], expected)
