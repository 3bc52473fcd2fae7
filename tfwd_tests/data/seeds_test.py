"""Every data set gives a first batch for every seed, one of its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfwd import data
from tfwd.data import records
from tfwd_tests.data import feeding
from tfwd_tests.data import folders
from tfwd_tests.data import jpegs

# The least, the default, both sides of int32, and the largest.
SEEDS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1)
BATCH_SIZE = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small stand-in for every data set that needs one."""
    root = tmp_path_factory.mktemp("data")
    for name in ("mnist", "cifar10", "cifar100"):
        folders.write(root, name, lengths={"train": (5, 5), "test": (2,)})
    images = [jpegs.ramp(20 + n, 20) for n in range(40)]
    jpegs.write(root, images, images[:3])
    for split in ("train", "valid", "test"):
        (root / f"ptb.{split}.txt").write_text("a b c d e f g\n" * 9)
    return root


def first_batch(name, folder, seed):
    """The first batch of a run with this seed, whose global seed it is."""
    keras.utils.set_random_seed(seed)
    source = data.load(name, folder)
    batches = source.training_batches(BATCH_SIZE, seed=seed, augment=False)
    ((batch,),) = feeding.steps_of(batches, 1)
    return batch


@pytest.mark.parametrize("name", data.NAMES)
def test_the_same_seed_gives_the_same_batch_and_another_another(folder, name):
    seen = {}
    for seed in SEEDS:
        seen[seed] = first_batch(name, folder, seed)
        assert len(seen[seed].labels) == BATCH_SIZE
    feeding.assert_equal(first_batch(name, folder, 0), seen[0])
    keys = {tuple(batch.keys) for batch in seen.values()}
    assert len(keys) == len(SEEDS)
    if name == "ptb":
        # A text has one order.
        return
    orders = {batch.inputs.tobytes() for batch in seen.values()}
    assert len(orders) == len(SEEDS)


def test_the_order_of_records_is_that_of_their_seed_whatever_the_global_one(
    folder,
):
    source = jpegs.opened(folder)
    found = []
    for seed in (0, 5):
        tf.random.set_seed(seed)
        batches = source.training_batches(9, seed=3, augment=True)
        found += feeding.steps_of(batches, 1)[0]
    feeding.assert_equal(*found)


def test_a_buffer_is_shuffled_as_tensorflow_shuffles_under_a_global_seed():
    numbers = tf.data.Dataset.range(2 * records.SHUFFLE_BUFFER)
    tf.random.set_seed(5)
    expected = numbers.shuffle(
        records.SHUFFLE_BUFFER, seed=7, reshuffle_each_iteration=False
    )
    ours = records.buffer_shuffled(
        numbers, tf.constant(5, tf.int64), tf.constant(7, tf.int64)
    )
    np.testing.assert_array_equal(
        list(ours.as_numpy_iterator()), list(expected.as_numpy_iterator())
    )
