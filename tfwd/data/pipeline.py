"""Batches as `tf.data`, reproducible from (seed, epoch) alone.

Images are float32 `[batch, height, width, channels]`, labels int32 `[batch]`.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfwd.data import augmentation
from tfwd.data import partition


def training_batches(
    splits: partition.Splits,
    batch_size: int,
    *,
    seed: int,
    augment: bool,
    first_epoch: int = 0,
    num_epochs: int,
) -> tf.data.Dataset:
    """Returns the global batches of `num_epochs` epochs, one after another.

    Epoch e visits every training example once, in the order of
    `stateless_shuffle(range(n), seed=(seed, e))`; the last batch of an epoch
    holds the n mod batch_size examples that are left. Epochs are numbered
    from 0, and what an epoch holds does not depend on `first_epoch`.

    Args:
        splits: the data set.
        batch_size: examples per global batch.
        seed: determines, with the epoch, order and augmentation.
        augment: random crop after padding by 4 pixels, and horizontal flip
            (Zhang et al. 2019).
        first_epoch: number of the first epoch returned.
        num_epochs: how many epochs follow each other.

    Returns:
        Elements (images, labels, weights). Every weight is 1 / (examples in
        this global batch), float32 `[batch]`: however a strategy divides the
        batch over replicas, the sum of weights * losses over all of them is
        the mean loss.

    Raises:
        ValueError: `batch_size` is below 1 or above the number of training
            examples, or `augment` is asked of images without colours.
    """
    size = len(splits.train)
    if not 1 <= batch_size <= size:
        raise ValueError(
            "`batch_size` must be at least 1 and at most the "
            f"{size} training examples. Received: batch_size={batch_size}"
        )
    if augment and splits.image_shape[-1] != 3:
        raise ValueError(
            "`augment` must be False for images without colours, whose "
            f"mirror image is another sign ({splits.name}). "
            f"Received: augment={augment}"
        )
    images, labels = on_host(splits.train)
    steps = number_of_batches(size, batch_size)

    def batches_of(epoch):
        order = tf.random.experimental.stateless_shuffle(
            tf.range(size), seed=tf.stack([seed, epoch]), alg="philox"
        )
        return tf.data.Dataset.range(steps).map(
            lambda step: (epoch, batch_at(step, order, batch_size))
        )

    def read(epoch, indices):
        batch = tf.gather(images, indices)
        if augment:
            variants = augmentation.draw(seed, epoch, indices)
            batch = augmentation.crop_and_flip(batch, *variants)
        weight = 1 / tf.cast(tf.size(indices), tf.float32)
        return (
            normalized(batch, splits),
            tf.gather(labels, indices),
            tf.fill(tf.shape(indices), weight),
        )

    epochs = tf.data.Dataset.range(first_epoch, first_epoch + num_epochs)
    batches = epochs.flat_map(batches_of)
    return finished(batches, read, steps * num_epochs)


def evaluation_batches(
    examples: partition.Examples, splits: partition.Splits, batch_size: int
) -> tf.data.Dataset:
    """Returns all `examples` once, in order, with a last partial batch.

    Args:
        examples: one of the splits.
        splits: the data set that `examples` belongs to.
        batch_size: examples per global batch.

    Returns:
        Elements (images, labels).

    Raises:
        ValueError: `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be at least 1. Received: "
            f"batch_size={batch_size}"
        )
    images, labels = on_host(examples)
    steps = number_of_batches(len(examples), batch_size)

    def read(step):
        batch = batch_at(step, images, batch_size)
        return normalized(batch, splits), batch_at(step, labels, batch_size)

    return finished(tf.data.Dataset.range(steps), read, steps)


def number_of_batches(size: int, batch_size: int) -> int:
    """Returns size / batch_size, rounded up."""
    return -(-size // batch_size)


def batch_at(step: tf.Tensor, values: tf.Tensor, batch_size: int) -> tf.Tensor:
    """Returns the rows of `values` that make up batch number `step`."""
    return values[step * batch_size : (step + 1) * batch_size]


def on_host(examples: partition.Examples) -> tuple[tf.Tensor, tf.Tensor]:
    """Copies the arrays once, to where `tf.data` runs."""
    with tf.device("CPU:0"):
        return (
            tf.convert_to_tensor(examples.images),
            tf.convert_to_tensor(examples.labels),
        )


def normalized(images: tf.Tensor, splits: partition.Splits) -> tf.Tensor:
    """Returns (image - mean) / std per channel, image scaled to 0..1.

    uint8 images are divided by 255. Written as image * scale + offset with
    constants of a whole image, which broadcast three times faster than a few
    channels do.
    """
    largest = 255 if images.dtype == tf.uint8 else 1
    mean, std = np.array(splits.mean), np.array(splits.std)
    scale, offset = (
        tf.constant(np.broadcast_to(channels, splits.image_shape), tf.float32)
        for channels in (1 / (largest * std), -mean / std)
    )
    return tf.cast(images, tf.float32) * scale + offset


def finished(
    batches: tf.data.Dataset, read: Callable, cardinality: int
) -> tf.data.Dataset:
    """Reads batches in parallel and in order, `cardinality` in all.

    Several workers share the batches out by data, there being no files.
    """
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    return (
        batches.map(read, num_parallel_calls=tf.data.AUTOTUNE)
        .apply(tf.data.experimental.assert_cardinality(cardinality))
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )
