"""Batches of images in memory, reproducible from (seed, epoch, step) alone.

Images are `[batch, height, width, channels]`, everything else `[batch]`.
"""

import numpy as np
import tensorflow as tf

from tfwd.data import augmentation
from tfwd.data import batches
from tfwd.data import partition


@batches.training_steps.register(partition.Splits)
def training_steps(
    source, batch_size: int, drop_remainder: bool = False
) -> int:
    """Returns the number of global batches; see `batches.training_steps`."""
    return steps_of_epoch(source.size("train"), batch_size, drop_remainder)


@batches.evaluation_steps.register(partition.Splits)
def evaluation_steps(source, split: str, batch_size: int) -> int:
    """Returns the number of global batches of a split, a partial one too."""
    return number_of_batches(source.size(split), batch_size)


@batches.training_batches.register(partition.Splits)
def training_batches(
    source,
    batch_size: int,
    *,
    seed: int,
    augment: bool,
    shard: batches.Shard = batches.Shard(),  # noqa: B008 - frozen
    first_epoch: int = 0,
    first_step: int = 0,
    finished: bool = True,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Returns the batches of all epochs; see `batches.training_batches`.

    Epoch e visits every training example once, in the order of
    `stateless_shuffle(range(n), seed=(seed, e))`; the last batch of an epoch
    holds the n mod batch_size examples that are left, unless
    `drop_remainder`. A later start costs nothing: no earlier example is read.

    Raises:
        ValueError: `batch_size` is below 1 or above the number of training
            examples, `first_step` is not in an epoch, or `augment` is asked
            of images without colours.
    """
    size = source.size("train")
    check_start(size, batch_size, first_step, drop_remainder)
    if augment and source.image_shape[-1] != 3:
        raise ValueError(
            "`augment` must be False for images without colours, whose "
            f"mirror image is another sign ({source.name}). "
            f"Received: augment={augment}"
        )
    images, labels = on_host(source.train)
    steps = steps_of_epoch(size, batch_size, drop_remainder)
    rows = shard.equal_rows(batch_size) if drop_remainder else None

    def shares_of(epoch):
        # Once per epoch, 16 ms for 50 000 examples, while the batches that
        # were prefetched are trained on.
        order = tf.random.experimental.stateless_shuffle(
            tf.range(size), seed=tf.stack([seed, epoch]), alg="philox"
        )

        def share(number):
            first, start, stop, total = share_at(
                number, size, batch_size, shard
            )
            indices = order[first + start : first + stop]
            return epoch, tf.ensure_shape(indices, [rows]), total

        start = step_to_start(epoch, first_epoch, first_step) * shard.count
        return tf.data.Dataset.range(start, steps * shard.count).map(share)

    def read(epoch, indices, total):
        batch = batches.Batch(
            tf.gather(images, indices),
            tf.gather(labels, indices),
            tf.fill(tf.shape(indices), 1 / tf.cast(total, tf.float32)),
            augmentation.hashed(seed, epoch, indices),
        )
        return finish(source, batch, augment) if finished else batch

    shares = counted_from(first_epoch).flat_map(shares_of)
    return ready(in_parallel(shares, read), tf.data.INFINITE_CARDINALITY)


@batches.evaluation_batches.register(partition.Splits)
def evaluation_batches(
    source,
    split: str,
    batch_size: int,
    *,
    shard: batches.Shard = batches.Shard(),  # noqa: B008 - frozen
    finished: bool = True,
) -> tf.data.Dataset:
    """Returns a split once, in order; see `batches.evaluation_batches`.

    Padding repeats the first example of the split; all `keys` are 0.

    Raises:
        ValueError: `batch_size` is below 1, or there is no such split.
    """
    check_batch_size(batch_size)
    size = source.size(split)
    images, labels = on_host(source.examples(split))
    width = number_of_batches(batch_size, shard.num_replicas)

    def read(number):
        first, start, stop, _ = share_at(number, size, batch_size, shard)
        rows = start + tf.range(width, dtype=tf.int64)
        indices = tf.where(rows < stop, first + rows, 0)
        batch = batches.Batch(
            tf.gather(images, indices),
            tf.gather(labels, indices),
            tf.cast(rows < stop, tf.float32),
            tf.zeros(width, tf.uint32),
        )
        return finish(source, batch, augment=False) if finished else batch

    count = number_of_batches(size, batch_size) * shard.count
    return ready(in_parallel(tf.data.Dataset.range(count), read), count)


@batches.finish.register(partition.Splits)
def finish(source, batch: batches.Batch, augment: bool) -> batches.Batch:
    """Crops and flips by the keys if `augment`, then normalizes, float32."""
    images = batch.inputs
    if augment:
        variants = augmentation.draw(batch.keys)
        images = augmentation.crop_and_flip(images, *variants)
    return batch._replace(inputs=normalized(images, source.mean, source.std))


def normalized(images: tf.Tensor, mean, std) -> tf.Tensor:
    """Returns (image - mean) / std per channel, image scaled to 0..1.

    uint8 images are scaled by 1 / 255. The subtraction comes first because a
    compiler may fuse a product with a sum after it, but not a sum with a
    product: so the result has the same bits everywhere. The constants are
    whole images, which broadcast three times faster than a few channels do.

    Args:
        images: uint8 or float32; all but the batch is known statically.
        mean: one number per channel, for images in 0..1.
        std: likewise.
    """
    largest = 255 if images.dtype == tf.uint8 else 1
    shift, scale = (
        tf.constant(np.broadcast_to(channels, images.shape[1:]), tf.float32)
        for channels in (
            largest * np.array(mean),
            1 / (largest * np.array(std)),
        )
    )
    return (tf.cast(images, tf.float32) - shift) * scale


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


def on_host(examples: partition.Examples) -> tuple[tf.Tensor, tf.Tensor]:
    """Copies the arrays once, to where `tf.data` runs."""
    with tf.device("CPU:0"):
        return (
            tf.convert_to_tensor(examples.images),
            tf.convert_to_tensor(examples.labels),
        )


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
    steps = steps_of_epoch(size, batch_size, drop_remainder)
    if not 0 <= first_step < steps:
        raise ValueError(
            "`first_step` must be at least 0 and below the number of steps "
            f"in an epoch, {steps}. Received: first_step={first_step}"
        )
