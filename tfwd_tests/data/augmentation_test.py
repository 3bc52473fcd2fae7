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


def keys_of(seed, epoch, indices):
    epoch = tf.constant(epoch, tf.int64)
    return augmentation.hashed(seed, epoch, tf.constant(indices))


def drawn(seed, epoch, indices):
    keys = keys_of(seed, epoch, indices)
    return [tensor.numpy() for tensor in augmentation.draw(keys)]


@tf.function
def windows_of(keys, height, width):
    """(top, left, height, width) per key, int32 `[keys, 4]`."""
    return tf.map_fn(
        lambda key: augmentation.crop_window(key, height, width),
        keys,
        fn_output_signature=tf.TensorSpec([4], tf.int32),
    )


def test_the_hash_equals_the_one_in_python_integers():
    indices = [0, 1, 2, 49999, 2**31 - 1]
    for seed, epoch in ((0, 0), (1, 0), (2**40 + 3, 199), (-1, 7)):
        hashes = keys_of(seed, epoch, indices)
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


def test_crop_and_flip_are_the_same_bits_when_compiled():
    images = np.random.default_rng(0).integers(0, 256, (64, 9, 7, 3), "u1")
    keys = keys_of(1, 2, np.arange(64))

    def augmented(images, keys):
        return augmentation.crop_and_flip(images, *augmentation.draw(keys))

    compiled = tf.function(augmented, jit_compile=True)
    np.testing.assert_array_equal(
        compiled(tf.constant(images), keys),
        augmented(tf.constant(images), keys),
    )


def test_uniforms_are_uniform_and_unrelated_to_each_other():
    """Moments and correlations within 4 standard deviations of chance."""
    n = 50_000
    numbers = augmentation.uniforms(keys_of(0, 0, np.arange(n)), 5).numpy()
    assert numbers.shape == (n, 5)
    assert 0 <= numbers.min() < 1e-3 and 1 - 1e-3 < numbers.max() < 1
    deviation = 4 / np.sqrt(n)
    np.testing.assert_allclose(
        numbers.mean(axis=0), 0.5, rtol=0, atol=deviation / np.sqrt(12)
    )
    np.testing.assert_allclose(
        np.corrcoef(numbers.T), np.eye(5), rtol=0, atol=deviation
    )


def test_crop_windows_have_the_published_areas_and_ratios():
    """On a square the area is uniform where every ratio of it fits."""
    windows = windows_of(keys_of(0, 0, np.arange(4000)), 1000, 1000).numpy()
    top, left, height, width = windows.T
    assert np.all((top >= 0) & (left >= 0) & (height > 0) & (width > 0))
    assert np.all((top + height <= 1000) & (left + width <= 1000))
    areas, ratios = height * width / 1e6, width / height
    # Sides of at least 240 pixels are rounded to whole ones.
    assert 0.0795 < areas.min() < 0.085 and 0.97 < areas.max() <= 1
    assert 0.747 < ratios.min() < 0.755 and 1.325 < ratios.max() < 1.338
    # Up to area 3/4 all ratios fit: 8, 25, 41.5, 58 and 75 % of the image
    # bound equally frequent quarters.
    counts, _ = np.histogram(areas, np.linspace(0.08, 0.75, 5))
    expected = counts.sum() / 4
    assert np.all(np.abs(counts - expected) < 4 * np.sqrt(expected))
    # The ratio's logarithm and the place are symmetrical.
    assert abs(np.mean(ratios > 1) - 0.5) < 4 * 0.5 / np.sqrt(4000)
    assert abs(np.mean(top / (1001 - height)) - 0.5) < 0.02


def test_a_crop_window_is_a_function_of_its_key():
    keys = keys_of(3, 1, np.arange(20))
    windows = windows_of(keys, 300, 400).numpy()
    assert len(np.unique(windows, axis=0)) == 20
    for key, window in zip(keys[:5], windows, strict=False):
        alone = augmentation.crop_window(
            key, tf.constant(300), tf.constant(400)
        )
        np.testing.assert_array_equal(alone, window)


def test_where_no_window_fits_it_is_the_largest_allowed_in_the_middle():
    keys = keys_of(0, 0, np.arange(50))
    tall = windows_of(keys, 1000, 3).numpy()
    wide = windows_of(keys, 3, 1000).numpy()
    np.testing.assert_array_equal(tall, [[498, 0, 4, 3]] * 50)
    np.testing.assert_array_equal(wide, [[0, 498, 3, 4]] * 50)
