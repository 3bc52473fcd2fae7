"""Batches are exact, reproducible and the same on two replicas as on one."""

import numpy as np
import pytest
import tensorflow as tf

from tfwd import data
from tfwd.data import augmentation

MEAN, STD = (0.5, 0.25, 0.4), (0.2, 0.3, 0.25)


def coloured(size):
    """Random uint8 images whose label is the example's number."""
    images = np.random.default_rng(size).integers(
        0, 256, (size, 8, 8, 3), dtype=np.uint8
    )
    examples = data.Examples(images, np.arange(size, dtype=np.int32))
    return data.Splits(
        "coloured", examples, None, examples, size, (8, 8, 3), MEAN, STD
    )


def epochs_of(splits, batch_size, **arguments):
    arguments = {"seed": 1, "augment": False, "num_epochs": 1} | arguments
    batches = data.training_batches(splits, batch_size, **arguments)
    return [tuple(t.numpy() for t in batch) for batch in batches]


def order_of(batches):
    return np.concatenate([labels for _, labels, _ in batches])


def by_example(batches):
    images = np.concatenate([images for images, _, _ in batches])
    return images[np.argsort(order_of(batches))]


def test_every_epoch_visits_every_example_once_in_the_documented_order():
    order = order_of(epochs_of(coloured(23), 5, seed=9, num_epochs=3))
    for epoch, visited in enumerate(np.split(order, 3)):
        expected = tf.random.experimental.stateless_shuffle(
            tf.range(23), seed=(9, epoch), alg="philox"
        )
        np.testing.assert_array_equal(visited, expected)
        np.testing.assert_array_equal(np.sort(visited), np.arange(23))


def test_epochs_and_seeds_differ():
    first, second = np.split(
        order_of(epochs_of(coloured(50), 50, num_epochs=2)), 2
    )
    other = order_of(epochs_of(coloured(50), 50, seed=2))
    assert np.any(first != second)
    assert np.any(first != other)


def test_a_later_start_continues_as_if_never_interrupted():
    arguments = {"seed": 3, "augment": True}
    whole = epochs_of(coloured(23), 5, num_epochs=5, **arguments)
    rest = epochs_of(coloured(23), 5, first_epoch=2, num_epochs=3, **arguments)
    assert len(rest) == 15
    for expected, batch in zip(whole[10:], rest, strict=True):
        for a, b in zip(expected, batch, strict=True):
            np.testing.assert_array_equal(a, b)


def test_augmentation_does_not_depend_on_the_batch():
    small, large = (
        by_example(epochs_of(coloured(23), size, augment=True))
        for size in (3, 7)
    )
    np.testing.assert_array_equal(small, large)


def test_augmentation_pads_with_black_before_normalizing():
    """On white images every value is that of white or that of black."""
    splits = coloured(40)
    splits.train.images[:] = 255
    images = np.concatenate(
        [batch[0] for batch in epochs_of(splits, 8, augment=True)]
    )
    black = -np.array(MEAN) / STD
    white = (1 - np.array(MEAN)) / STD
    is_black = np.isclose(images, black, rtol=1e-5).all(axis=-1)
    is_white = np.isclose(images, white, rtol=1e-5).all(axis=-1)
    assert np.all(is_black ^ is_white)
    assert is_black.any()


def test_a_training_image_is_the_drawn_crop_of_its_example():
    splits = coloured(23)
    images = by_example(
        epochs_of(splits, 5, seed=6, augment=True, first_epoch=4)
    )
    epoch = tf.constant(4, tf.int64)
    drawn = augmentation.draw(6, epoch, tf.range(23))
    crops = augmentation.crop_and_flip(
        tf.constant(splits.train.images), *drawn
    ).numpy()
    # float32 rounds the image, scale and offset: a few units of 6e-8 at 4.
    np.testing.assert_allclose(
        images, (crops / 255 - MEAN) / STD, rtol=0, atol=1e-6
    )


def test_images_in_0_to_1_are_not_divided_again():
    splits = data.load("digits")
    images = by_example(
        epochs_of(
            data.Splits(
                "digits",
                data.Examples(
                    splits.train.images[:9], np.arange(9, dtype=np.int32)
                ),
                None,
                splits.test,
                10,
                (8, 8, 1),
                (0.25,),
                (0.5,),
            ),
            4,
        )
    )
    # Sixteenths are exact in float32, and so are 1/4 and 1/2.
    np.testing.assert_array_equal(images, splits.train.images[:9] * 2 - 0.5)


def test_the_weights_make_the_sum_a_mean_in_every_batch():
    losses = np.random.default_rng(0).random(23)
    batches = epochs_of(coloured(23), 5)
    assert [len(labels) for _, labels, _ in batches] == [5, 5, 5, 5, 3]
    for _, labels, weights in batches:
        assert weights.dtype == np.float32
        np.testing.assert_allclose(
            np.sum(weights * losses[labels]),
            np.mean(losses[labels]),
            rtol=1e-6,  # 1/5 and 1/3 are rounded to float32.
        )


def test_the_number_of_batches_is_known():
    splits = coloured(23)
    training = data.training_batches(
        splits, 5, seed=0, augment=False, first_epoch=7, num_epochs=3
    )
    evaluation = data.evaluation_batches(splits.test, splits, 5)
    assert training.cardinality() == 15
    assert evaluation.cardinality() == 5


def test_evaluation_keeps_order_and_the_last_partial_batch():
    splits = coloured(23)
    batches = list(data.evaluation_batches(splits.test, splits, 5))
    labels = np.concatenate([labels for _, labels in batches])
    images = np.concatenate([images for images, _ in batches])
    np.testing.assert_array_equal(labels, np.arange(23))
    np.testing.assert_allclose(
        images,
        (splits.test.images / 255 - MEAN) / STD,
        rtol=0,
        atol=1e-6,
    )
    assert len(labels) == 23 and len(batches[-1][1]) == 3


@pytest.mark.parametrize("size", [20, 21, 22, 23])
def test_two_replicas_share_out_exactly_what_one_sees(size):
    splits = coloured(size)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def dataset():
        return data.training_batches(
            splits, 4, seed=2, augment=True, num_epochs=2
        )

    divided = list(strategy.experimental_distribute_dataset(dataset()))
    for whole, parts in zip(dataset(), divided, strict=True):
        for expected, part in zip(whole, parts, strict=True):
            local = strategy.experimental_local_results(part)
            assert len(local) == 2
            np.testing.assert_array_equal(
                np.concatenate([shard.numpy() for shard in local]), expected
            )


def test_two_replicas_evaluate_every_example_once():
    splits = coloured(21)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    batches = strategy.experimental_distribute_dataset(
        data.evaluation_batches(splits.test, splits, 4)
    )
    seen = [
        shard.numpy()
        for _, labels in batches
        for shard in strategy.experimental_local_results(labels)
    ]
    np.testing.assert_array_equal(np.concatenate(seen), np.arange(21))


@pytest.mark.parametrize("batch_size", [0, -4, 24])
def test_a_batch_that_the_training_set_cannot_fill_is_refused(batch_size):
    with pytest.raises(ValueError, match="at most the 23 training") as error:
        epochs_of(coloured(23), batch_size)
    assert str(error.value).endswith(f"Received: batch_size={batch_size}")


def test_an_empty_evaluation_batch_is_refused():
    splits = coloured(23)
    with pytest.raises(ValueError, match="Received: batch_size=0$"):
        data.evaluation_batches(splits.test, splits, 0)


def test_digits_are_not_mirrored():
    with pytest.raises(ValueError, match="`augment` must be False"):
        epochs_of(data.load("digits"), 10, augment=True)
