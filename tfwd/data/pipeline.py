"""What the pipelines of all data sets are made of: counts, shares, checks."""

import tensorflow as tf

from tfwd.data import batches


def number_of_batches(size: int, batch_size: int) -> int:
    """Returns size / batch_size, rounded up."""
    return -(-size // batch_size)


def steps_of_epoch(size: int, batch_size: int, drop_remainder: bool) -> int:
    """Returns how many batches are trained on, a partial one if it is kept."""
    if drop_remainder:
        return size // batch_size
    return number_of_batches(size, batch_size)


def step_to_start(epoch: tf.Tensor, first_epoch: int, first_step: int):
    """Returns `first_step` in the first epoch and 0 in later ones, int64."""
    return tf.cast(tf.where(epoch == first_epoch, first_step, 0), tf.int64)


def share_at(number, size: int, batch_size: int, shard: batches.Shard):
    """Locates the element number `number` of a shard in its epoch.

    Args:
        number: counts the shard's replicas in every step.
        size: examples in the epoch.
        batch_size: examples per global batch but the last.
        shard: the replicas that are fed.

    Returns:
        (first, start, stop, total): the global batch begins at position
        `first` of the epoch and has `total` rows, of which the replica's are
        those from `start` to `stop`.
    """
    first = number // shard.count * batch_size
    total = tf.minimum(size - first, batch_size)
    start, stop = shard.rows(total, shard.first + number % shard.count)
    return first, start, stop, total


def counted_from(first) -> tf.data.Dataset:
    """Returns first, first + 1, ... without end, as int64.

    Not by `Dataset.counter`, of whose function TensorFlow (2.21) keeps the
    graph until the process ends.
    """
    return tf.data.Dataset.range(first, tf.int64.max)


def in_parallel(dataset: tf.data.Dataset, function) -> tf.data.Dataset:
    """Maps on all cores and keeps the order."""
    return dataset.map(
        function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def ready(dataset: tf.data.Dataset, cardinality: int) -> tf.data.Dataset:
    """Prefetches, tells the cardinality and forbids to divide once more."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return (
        dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )


def check_batch_size(batch_size: int):
    """Raises ValueError unless `batch_size` is at least 1."""
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be at least 1. Received: "
            f"batch_size={batch_size}"
        )


def check_start(
    size: int, batch_size: int, first_step: int, drop_remainder: bool
):
    """Checks that batches fit in an epoch, and the first one among them.

    Raises:
        ValueError: `batch_size` is not in 1..`size`, or `first_step` is not
            a step of an epoch of `size` examples.
    """
    if not 1 <= batch_size <= size:
        raise ValueError(
            "`batch_size` must be at least 1 and at most the "
            f"{size} training examples. Received: batch_size={batch_size}"
        )
    check_first_step(
        first_step, steps_of_epoch(size, batch_size, drop_remainder)
    )


def check_first_step(first_step: int, steps: int):
    """Raises ValueError unless an epoch of `steps` has a step `first_step`."""
    if not 0 <= first_step < steps:
        raise ValueError(
            "`first_step` must be at least 0 and below the number of steps "
            f"in an epoch, {steps}. Received: first_step={first_step}"
        )
