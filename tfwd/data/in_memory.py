"""Images in memory, in batches that follow from (seed, epoch, step) alone.

Images are `[batch, height, width, channels]`, everything else `[batch]`.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tfwd.data import augmentation
from tfwd.data import batches
from tfwd.data import images as images_lib
from tfwd.data import pipeline


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Images and their labels.

    Args:
        images: uint8 in 0..255 or float32 in 0..1,
            `[examples, height, width, channels]`.
        labels: int32 class numbers, `[examples]`.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Examples":
        """Returns the examples at `indices`, in that order."""
        return Examples(self.images[indices], self.labels[indices])

    def on_host(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Copies the arrays once, to where `tf.data` runs."""
        with tf.device("CPU:0"):
            return (
                tf.convert_to_tensor(self.images),
                tf.convert_to_tensor(self.labels),
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Splits(images_lib.Images):
    """A data set: its splits and what a model has to know about it.

    Args:
        name: The name that `tfwd.data.load` was given.
        train: What the model is trained on.
        validation: What was held out of the training set, or None.
        test: The test set.
        num_classes: Labels are in `[0, num_classes)`.
        image_shape: (height, width, channels).
        mean: Per channel, for images scaled to 0..1.
        std: Per channel, for images scaled to 0..1; a model sees
            `(image - mean) / std`.
    """

    name: str
    train: Examples
    validation: Examples | None
    test: Examples
    num_classes: int
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def split_names(self) -> tuple[str, ...]:
        """The names of the splits that there are."""
        names = ("train", "validation", "test")
        return tuple(name for name in names if getattr(self, name) is not None)

    def examples(self, split: str) -> Examples:
        """Returns the examples of a split.

        Raises:
            ValueError: There is no split of that name.
        """
        self.check_split(split)
        return getattr(self, split)

    def size(self, split: str) -> int:
        """Returns the number of examples of a split; raises ValueError."""
        return len(self.examples(split))

    def training_batches(
        self,
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
        """Returns the batches of all epochs; see `Source.training_batches`.

        Epoch e visits every training example once, in the order of
        `stateless_shuffle(range(n), seed=(seed, e))`; the last batch of an
        epoch holds the n mod batch_size examples that are left, unless
        `drop_remainder`. A later start costs nothing: no earlier example is
        read.

        Raises:
            ValueError: `batch_size` is below 1 or above the number of training
                examples, `first_step` is not in an epoch, or `augment` is
                asked of grayscale images.
        """
        size = self.size("train")
        pipeline.check_start(size, batch_size, first_step, drop_remainder)
        if augment and self.image_shape[-1] != 3:
            raise ValueError(
                "`augment` must be False for grayscale images, whose "
                f"mirror image is another sign ({self.name}). "
                f"Received: augment={augment}"
            )
        images, labels = self.train.on_host()
        steps = self.training_steps(batch_size, drop_remainder)
        rows = shard.equal_rows(batch_size) if drop_remainder else None

        def shares_of(epoch):
            # Once per epoch, 16 ms for 50 000 examples, while the batches that
            # were prefetched are trained on.
            order = tf.random.experimental.stateless_shuffle(
                tf.range(size), seed=tf.stack([seed, epoch]), alg="philox"
            )

            def share(number):
                first, start, stop, total = pipeline.share_at(
                    number, size, batch_size, shard
                )
                indices = order[first + start : first + stop]
                return epoch, tf.ensure_shape(indices, [rows]), total

            start = pipeline.step_to_start(epoch, first_epoch, first_step)
            return tf.data.Dataset.range(
                start * shard.count, steps * shard.count
            ).map(share)

        def read(epoch, indices, total):
            batch = batches.Batch(
                tf.gather(images, indices),
                tf.gather(labels, indices),
                tf.fill(tf.shape(indices), 1 / tf.cast(total, tf.float32)),
                augmentation.hashed(seed, epoch, indices),
            )
            return self.finish(batch, augment) if finished else batch

        shares = pipeline.counted_from(first_epoch).flat_map(shares_of)
        return pipeline.ready(
            pipeline.in_parallel(shares, read), tf.data.INFINITE_CARDINALITY
        )

    def evaluation_batches(
        self,
        split: str,
        batch_size: int,
        *,
        shard: batches.Shard = batches.Shard(),  # noqa: B008 - frozen
        finished: bool = True,
    ) -> tf.data.Dataset:
        """Returns a split once, in order; see `Source.evaluation_batches`.

        Padding repeats the first example of the split.

        Raises:
            ValueError: `batch_size` is below 1, or there is no such split.
        """
        pipeline.check_batch_size(batch_size)
        size = self.size(split)
        images, labels = self.examples(split).on_host()
        width = pipeline.number_of_batches(batch_size, shard.num_replicas)

        def read(number):
            first, start, stop, _ = pipeline.share_at(
                number, size, batch_size, shard
            )
            rows = start + tf.range(width, dtype=tf.int64)
            indices = tf.where(rows < stop, first + rows, 0)
            batch = batches.Batch(
                tf.gather(images, indices),
                tf.gather(labels, indices),
                tf.cast(rows < stop, tf.float32),
                tf.zeros(width, tf.uint32),
            )
            return self.finish(batch, augment=False) if finished else batch

        count = self.evaluation_steps(split, batch_size) * shard.count
        turns = tf.data.Dataset.range(count)
        return pipeline.ready(pipeline.in_parallel(turns, read), count)

    def finish(self, batch: batches.Batch, augment: bool) -> batches.Batch:
        """Crops and flips by the keys if `augment`, then normalizes."""
        if augment:
            variants = augmentation.draw(batch.keys)
            images = augmentation.crop_and_flip(batch.inputs, *variants)
            batch = batch._replace(inputs=images)
        return super().finish(batch, augment)
