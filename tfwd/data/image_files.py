"""JPEG images in files that are read while training, as for ImageNet.

Every step holds the same examples on any number of replicas and workers, and
after a restart. No library's loader does that: `tf.distribute` hands whole
files out to workers, so that a step depends on their number, and cuts a batch
after it was decoded; the shuffling of `tf.data` and of TensorFlow Datasets also
depends on TensorFlow's global seed and on the files that a process reads. So
the order is drawn here, in `records`.

Images are uint8 `[batch, size, size, 3]` up to `finish`, everything else is
`[batch]`.
"""

import dataclasses
import typing

import numpy as np
import tensorflow as tf

from tfwd.data import augmentation
from tfwd.data import batches
from tfwd.data import damage
from tfwd.data import examples
from tfwd.data import folder as folder_lib
from tfwd.data import images as images_lib
from tfwd.data import jpeg
from tfwd.data import pipeline
from tfwd.data import records


class Slice(typing.NamedTuple):
    """Examples `start` to `stop` of a TFDS split."""

    split: str
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, eq=False)
class Records(images_lib.Images):
    """A data set of JPEG images in files.

    Args:
        name: The name that `tfwd.data.load` was given.
        folder: The folder in TensorFlow Datasets' form.
        num_bytes: The size of the files of each of its splits.
        slices: What each of our splits is of the folder's.
        image_size: Height and width after the crop, in pixels.
        mean: Per channel, for images scaled to 0..1.
        std: Per channel, for images scaled to 0..1.
    """

    name: str
    folder: folder_lib.Folder
    num_bytes: dict[str, int]
    slices: dict[str, Slice]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def num_classes(self) -> int:
        """Labels are in `[0, num_classes)`."""
        return self.folder.features.num_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (self.image_size, self.image_size, 3)

    @property
    def split_names(self) -> tuple[str, ...]:
        """The names of the splits that there are."""
        return tuple(self.slices)

    def size(self, split: str) -> int:
        """Returns the number of examples of a split; raises ValueError."""
        self.check_split(split)
        return self.slices[split].stop - self.slices[split].start

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

        Epoch e visits every example once, in an order drawn from (seed, e):
        the shards are permuted, the records of 32 of them at a time merged at
        random, and the result passes through a buffer of 4096. A start at a
        later step reads the epoch's earlier records, but decodes none.

        Images are random resized crops, mirrored half of the time, if
        `augment`, else those of evaluation. The keys hash the example's number
        in TFDS's training split, whatever is held out of it.

        Raises:
            ValueError: `batch_size` is above the number of training examples
                or below that of replicas, or `first_step` is not in an epoch.
        """
        size = self.size("train")
        pipeline.check_start(size, batch_size, first_step, drop_remainder)
        _check_replicas(batch_size, shard)
        rows = None
        if drop_remainder:
            size -= size % batch_size
            rows = shard.equal_rows(batch_size)
        shards, sizes = self._opened("train")

        def shares_of(epoch):
            examples = records.shuffled(shards, sizes, tf.stack([seed, epoch]))
            start = pipeline.step_to_start(epoch, first_epoch, first_step)
            shares = records.shares_from(
                start, examples.take(size), size, batch_size, shard
            )
            return shares.map(lambda *share: (epoch, *share))

        def read(epoch, total, indices, serialized):
            serialized = tf.ensure_shape(serialized, [rows])
            indices = tf.ensure_shape(indices, [rows])
            examples = indices + self.slices["train"].start
            keys = augmentation.hashed(seed, epoch, examples)
            images, labels = self._decoded(serialized, keys, augment)
            weights = tf.fill(tf.shape(labels), 1 / tf.cast(total, tf.float32))
            batch = batches.Batch(images, labels, weights, keys)
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

        The shorter side is resized to 8/7 of the image size, and the middle is
        cropped. Padding is black, of class 0.

        Raises:
            ValueError: `batch_size` is below 1 or the number of replicas, or
                there is no such split.
        """
        pipeline.check_batch_size(batch_size)
        _check_replicas(batch_size, shard)
        size = self.size(split)
        shards, sizes = self._opened(split)
        width = pipeline.number_of_batches(batch_size, shard.num_replicas)
        turns = np.repeat(np.arange(len(sizes)), sizes)
        examples = records.in_turns(shards, turns).enumerate()

        def read(_, indices, serialized):
            del indices
            keys = tf.zeros(tf.shape(serialized), tf.uint32)
            images, labels = self._decoded(serialized, keys, augment=False)
            weights = tf.ones(tf.shape(labels))
            batch = batches.Batch(
                *(
                    _padded(each, width)
                    for each in (images, labels, weights, keys)
                )
            )
            return self.finish(batch, augment=False) if finished else batch

        start = tf.constant(0, tf.int64)
        shares = records.shares_from(start, examples, size, batch_size, shard)
        steps = self.evaluation_steps(split, batch_size)
        return pipeline.ready(
            pipeline.in_parallel(shares, read), steps * shard.count
        )

    def find_damage(self):
        """Reads and decodes every record; see `Source.find_damage`."""

        def decode(encoded):
            # Training asks the header for the size, and crops what it tells.
            return jpeg.shape_of(encoded), tf.io.decode_jpeg(
                encoded, channels=3
            )

        splits = {part.split for part in self.slices.values()}
        damage.check_records(self.folder, sorted(splits), decode)

    def _opened(self, split):
        """Opens the files of a split; see `records.open_shards`."""
        part = self.slices[split]
        return records.open_shards(
            self.folder.shards(part.split),
            self.num_bytes[part.split],
            part.start,
            part.stop,
        )

    def _decoded(self, serialized, keys, augment):
        """Decodes examples side by side.

        Args:
            serialized: Strings `[batch]`.
            keys: uint32 `[batch]`; not used without `augment`.
            augment: Random resized crop and flip, else the central crop.

        Returns:
            Images, uint8, and labels, int32.
        """
        images, labels = examples.parsed(serialized, self.num_classes)

        def decode(arguments):
            encoded, key = arguments
            if augment:
                return jpeg.random_crop(encoded, key, self.image_size)
            return jpeg.central_crop(encoded, self.image_size)

        images = tf.map_fn(
            decode,
            (images, keys),
            fn_output_signature=tf.TensorSpec(self.image_shape, tf.uint8),
        )
        return images, labels


def _padded(values, size):
    """Returns `size` rows: the given ones, then zeros."""
    missing = size - tf.shape(values)[0]
    paddings = [[0, missing]] + [[0, 0]] * (values.shape.rank - 1)
    return tf.ensure_shape(tf.pad(values, paddings), (size, *values.shape[1:]))


def _check_replicas(batch_size, shard):
    """Raises ValueError where a full batch has no example for a replica."""
    if batch_size < shard.num_replicas:
        raise ValueError(
            "`batch_size` must be at least the number of replicas, "
            f"{shard.num_replicas}. Received: batch_size={batch_size}"
        )
