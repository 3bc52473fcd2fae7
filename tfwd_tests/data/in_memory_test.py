"""Batches are exact, reproducible and the same on many replicas as on one.

Covers `images`, `pipeline`, `batches` and `examples`.
"""

import numpy as np
import pytest
import tensorflow as tf

from tfwd import data
from tfwd.data import augmentation
from tfwd_tests.data import feeding

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


def training(splits, batch_size, num_steps, **arguments):
    """Per step, per replica: the batches of `Source.training_batches`."""
    arguments = {"seed": 1, "augment": False} | arguments
    dataset = splits.training_batches(batch_size, **arguments)
    shard = arguments.get("shard", data.Shard())
    return feeding.steps_of(dataset, num_steps, shard.count)


def an_epoch(splits, batch_size, **arguments):
    """All batches of one epoch as one, on one replica."""
    steps = splits.training_steps(batch_size)
    return feeding.joined(
        [step[0] for step in training(splits, batch_size, steps, **arguments)]
    )


def images_by_example(batch):
    return batch.inputs[np.argsort(batch.labels)]


def test_every_epoch_visits_every_example_once_in_the_documented_order():
    steps = training(coloured(23), 5, 15, seed=9)
    order = feeding.joined([step[0] for step in steps]).labels
    for epoch, visited in enumerate(np.split(order, 3)):
        expected = tf.random.experimental.stateless_shuffle(
            tf.range(23), seed=(9, epoch), alg="philox"
        )
        np.testing.assert_array_equal(visited, expected)
        np.testing.assert_array_equal(np.sort(visited), np.arange(23))


def test_epochs_and_seeds_differ():
    splits = coloured(50)
    first = an_epoch(splits, 50).labels
    assert np.any(first != an_epoch(splits, 50, first_epoch=1).labels)
    assert np.any(first != an_epoch(splits, 50, seed=2).labels)


def test_the_last_batch_of_an_epoch_is_the_rest():
    sizes = [len(step[0].labels) for step in training(coloured(23), 5, 10)]
    assert sizes == [5, 5, 5, 5, 3] * 2


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (0, 4), (2, 0), (1, 3)])
def test_a_later_start_continues_as_if_never_interrupted(epoch, step, count):
    arguments = {"seed": 3, "augment": True, "shard": data.Shard(3, 1, count)}
    whole = training(coloured(23), 5, 16, **arguments)
    done = 5 * epoch + step
    rest = training(
        coloured(23),
        5,
        16 - done,
        first_epoch=epoch,
        first_step=step,
        **arguments,
    )
    for expected, parts in zip(whole[done:], rest, strict=True):
        assert len(parts) == count
        for part, expected_part in zip(parts, expected, strict=True):
            feeding.assert_equal(part, expected_part)


@pytest.mark.parametrize("num_replicas", [1, 2, 3])
@pytest.mark.parametrize("size", [22, 21, 20])
def test_the_replicas_share_out_exactly_what_one_sees(size, num_replicas):
    """Batches of 5 leave 2, 1 or 0: two replicas of three can be idle."""
    splits = coloured(size)
    shard = data.Shard(num_replicas, 0, num_replicas)
    divided = training(splits, 5, 10, augment=True, shard=shard)
    for (whole,), parts in zip(
        training(splits, 5, 10, augment=True), divided, strict=True
    ):
        sizes = [len(part.labels) for part in parts]
        assert len(sizes) == num_replicas
        assert max(sizes) - min(sizes) <= 1
        feeding.assert_equal(feeding.joined(parts), whole)


def test_workers_together_feed_what_one_process_feeds_alone():
    splits = coloured(22)
    one = training(splits, 5, 10, augment=True, shard=data.Shard(3, 0, 3))
    first = training(splits, 5, 10, augment=True, shard=data.Shard(3, 0, 1))
    second = training(splits, 5, 10, augment=True, shard=data.Shard(3, 1, 2))
    for parts, a, b in zip(one, first, second, strict=True):
        for part, expected in zip([*a, *b], parts, strict=True):
            feeding.assert_equal(part, expected)


def test_a_mirrored_strategy_gets_the_shares_in_its_replicas():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    arguments = {"seed": 1, "augment": True, "shard": data.Shard(2, 0, 2)}
    distributed = iter(
        strategy.distribute_datasets_from_function(
            lambda _: coloured(21).training_batches(4, **arguments)
        )
    )
    for parts in training(coloured(21), 4, 7, **arguments):
        local = zip(
            *map(strategy.experimental_local_results, next(distributed)),
            strict=True,
        )
        for part, expected in zip(local, parts, strict=True):
            part = [tensor.numpy() for tensor in part]
            feeding.assert_equal(part, expected)


@pytest.mark.parametrize("num_replicas", [1, 2, 3])
def test_the_weights_make_the_sum_over_replicas_a_mean(num_replicas):
    losses = np.random.default_rng(0).random(22)
    shard = data.Shard(num_replicas, 0, num_replicas)
    for parts in training(coloured(22), 5, 5, shard=shard):
        total = sum(part.weights @ losses[part.labels] for part in parts)
        mean = np.mean(losses[feeding.joined(parts).labels])
        # 1/5 and 1/2 are rounded to float32.
        np.testing.assert_allclose(total, mean, rtol=1e-6)
        weights = feeding.joined(parts).weights
        assert weights.dtype == np.float32
        np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)


def test_the_keys_are_the_hash_of_seed_epoch_and_example():
    seen = []
    for epoch in (0, 1):
        batch = an_epoch(coloured(23), 5, seed=9, first_epoch=epoch)
        expected = augmentation.hashed(
            9, tf.constant(epoch), tf.constant(batch.labels)
        )
        np.testing.assert_array_equal(batch.keys, expected)
        seen += batch.keys.tolist()
    assert len(set(seen)) == 46


def test_augmentation_does_not_depend_on_the_batch():
    small, large = (
        images_by_example(an_epoch(coloured(23), size, augment=True))
        for size in (3, 7)
    )
    np.testing.assert_array_equal(small, large)


def test_augmentation_pads_with_black_before_normalizing():
    """On white images every value is that of white or that of black."""
    splits = coloured(40)
    splits.train.images[:] = 255
    images = an_epoch(splits, 8, augment=True).inputs
    black = -np.array(MEAN) / STD
    white = (1 - np.array(MEAN)) / STD
    is_black = np.isclose(images, black, rtol=1e-5).all(axis=-1)
    is_white = np.isclose(images, white, rtol=1e-5).all(axis=-1)
    assert np.all(is_black ^ is_white)
    assert is_black.any()


def test_a_training_image_is_the_drawn_crop_of_its_example():
    splits = coloured(23)
    images = images_by_example(
        an_epoch(splits, 5, seed=6, augment=True, first_epoch=4)
    )
    keys = augmentation.hashed(6, tf.constant(4), tf.range(23))
    crops = augmentation.crop_and_flip(
        tf.constant(splits.train.images), *augmentation.draw(keys)
    ).numpy()
    # float32 rounds the mean and the scale: a few units of 6e-8 at 4.
    np.testing.assert_allclose(
        images, (crops / 255 - MEAN) / STD, rtol=0, atol=1e-6
    )


def test_images_in_0_to_1_are_not_divided_again():
    digits = data.load("digits").train.images[:9]
    examples = data.Examples(digits, np.arange(9, dtype=np.int32))
    splits = data.Splits(
        "digits", examples, None, examples, 10, (8, 8, 1), (0.25,), (0.5,)
    )
    # Sixteenths are exact in float32, and so are 1/4 and 1/2.
    np.testing.assert_array_equal(
        images_by_example(an_epoch(splits, 4)), digits * 2 - 0.5
    )


@pytest.mark.parametrize("augment", [False, True])
def test_finishing_on_the_device_gives_the_same_bits(augment):
    splits = coloured(23)
    arguments = {"seed": 2, "augment": augment}
    raw = splits.training_batches(5, finished=False, **arguments)
    assert raw.element_spec.inputs.shape.as_list() == [None, 8, 8, 3]
    assert raw.element_spec.inputs.dtype == tf.uint8
    compiled = tf.function(
        lambda batch: splits.finish(batch, augment), jit_compile=True
    )
    finished = training(splits, 5, 5, **arguments)
    for batch, (expected,) in zip(raw.take(5), finished, strict=True):
        for finish in (compiled, compiled.python_function):
            ours = [tensor.numpy() for tensor in finish(batch)]
            feeding.assert_equal(ours, expected)


def test_an_unfinished_image_is_that_of_the_data_set():
    splits = coloured(23)
    batch = an_epoch(splits, 5, augment=True, finished=False)
    np.testing.assert_array_equal(images_by_example(batch), splits.train.images)


@pytest.mark.parametrize("size", [23, 20, 3])
@pytest.mark.parametrize("num_replicas", [1, 2, 3])
def test_evaluation_sees_every_example_once_in_order(size, num_replicas):
    splits = coloured(size)
    shard = data.Shard(num_replicas, 0, num_replicas)
    dataset = splits.evaluation_batches("test", 5, shard=shard)
    num_steps = splits.evaluation_steps("test", 5)
    assert num_steps == -(-size // 5)
    assert dataset.cardinality() == num_steps * num_replicas
    width = -(-5 // num_replicas)
    assert dataset.element_spec.inputs.shape.as_list() == [width, 8, 8, 3]
    steps = feeding.steps_of(dataset, num_steps, num_replicas)
    whole = feeding.joined([part for parts in steps for part in parts])
    assert set(whole.weights.tolist()) <= {0.0, 1.0}
    real = whole.weights == 1
    np.testing.assert_array_equal(whole.labels[real], np.arange(size))
    np.testing.assert_allclose(
        whole.inputs[real],
        (splits.test.images / 255 - MEAN) / STD,
        rtol=0,
        atol=1e-6,
    )
    assert np.all(whole.labels[~real] == 0)
    assert not np.any(whole.keys)


def test_evaluation_can_be_finished_on_the_device():
    splits = coloured(23)
    whole = splits.evaluation_batches("train", 5)
    raw = splits.evaluation_batches("train", 5, finished=False)
    for batch, expected in zip(raw, whole, strict=True):
        assert batch.inputs.dtype == tf.uint8
        ours = splits.finish(batch, augment=False)
        feeding.assert_equal(
            [tensor.numpy() for tensor in ours],
            [tensor.numpy() for tensor in expected],
        )


def test_training_has_no_end():
    dataset = coloured(23).training_batches(5, seed=0, augment=False)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY


@pytest.mark.parametrize("batch_size", [0, -4, 24])
def test_a_batch_that_the_training_set_cannot_fill_is_refused(batch_size):
    with pytest.raises(ValueError, match="at most the 23 training") as error:
        training(coloured(23), batch_size, 1)
    assert str(error.value).endswith(f"Received: batch_size={batch_size}")


@pytest.mark.parametrize("first_step", [-1, 5])
def test_a_step_that_no_epoch_has_is_refused(first_step):
    with pytest.raises(ValueError, match="in an epoch, 5. Received") as error:
        training(coloured(23), 5, 1, first_step=first_step)
    assert str(error.value).endswith(f"first_step={first_step}")


def test_an_empty_evaluation_batch_is_refused():
    with pytest.raises(ValueError, match="Received: batch_size=0$"):
        coloured(23).evaluation_batches("test", 0)


def test_a_split_that_was_not_held_out_is_refused():
    with pytest.raises(ValueError) as error:
        coloured(23).evaluation_batches("validation", 5)
    assert str(error.value) == (
        "`split` must be one of train, test. Received: split=validation"
    )


def test_digits_are_not_mirrored():
    with pytest.raises(ValueError, match="`augment` must be False"):
        training(data.load("digits"), 10, 1, augment=True)
