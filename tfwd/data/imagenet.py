"""ImageNet, read from files while training.

Images are uint8 `[batch, size, size, 3]` up to `finish`, everything else is
`[batch]`.
"""

import dataclasses
import os
import typing

import numpy as np
import tensorflow as tf

from tfwd.data import augmentation
from tfwd.data import batches
from tfwd.data import damage
from tfwd.data import examples
from tfwd.data import folder as folder_lib
from tfwd.data import jpeg
from tfwd.data import partition
from tfwd.data import pipeline
from tfwd.data import records

NAME = "imagenet2012"


class Slice(typing.NamedTuple):
    """Examples `start` to `stop` of a TFDS split."""

    split: str
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """A data set of JPEG images in files.

    Args:
        name: the name that `tfwd.data.load` was given.
        folder: the folder in TensorFlow Datasets' form.
        num_bytes: the size of the files of each of its splits.
        slices: what each of our splits is of the folder's.
        image_size: height and width after the crop, in pixels.
        mean: per channel, for images scaled to 0..1.
        std: per channel, for images scaled to 0..1.
    """

    name: str
    folder: folder_lib.Folder
    num_bytes: dict[str, int]
    slices: dict[str, Slice]
    image_size: int
    # Over the training images; as in torchvision's reference training.
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    @property
    def num_classes(self) -> int:
        """Labels are in `[0, num_classes)`."""
        return self.folder.features.num_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (self.image_size, self.image_size, 3)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of one input of a model."""
        return self.image_shape

    @property
    def split_names(self) -> tuple[str, ...]:
        """The names of the splits that there are."""
        return tuple(self.slices)

    def size(self, split: str) -> int:
        """Returns the number of examples of a split.

        Raises:
            ValueError: there is no split of that name.
        """
        partition.check_split(split, self.split_names)
        return self.slices[split].stop - self.slices[split].start


def load(
    data_dir: str | os.PathLike | None,
    num_validation: int = 0,
    train_fraction: float = 1.0,
    image_size: int = 224,
) -> Records:
    """Opens `<data_dir>/imagenet2012/<version>`; reads no image.

    TFDS's "validation" is the "test" split here. The first `num_validation`
    training examples (TFDS has shuffled them when it wrote the files) become
    the validation split, and a part of the others is trained on.

    Raises:
        ValueError: `data_dir` does not hold the data set or holds it in
            another format than TFRecord, or a split that is not possible.
    """
    folder = folder_lib.newest(
        NAME,
        data_dir,
        splits=("train", "validation"),
        channels=3,
    )
    num_bytes = {
        split: damage.check_files(folder, split)
        for split in ("train", "validation")
    }
    size = folder.splits["train"].num_examples
    kept = partition.num_training(size, num_validation, train_fraction)
    slices = {"train": Slice("train", num_validation, num_validation + kept)}
    if num_validation:
        slices["validation"] = Slice("train", 0, num_validation)
    num_test = folder.splits["validation"].num_examples
    slices["test"] = Slice("validation", 0, num_test)
    return Records(NAME, folder, num_bytes, slices, image_size)


# Batches are counted as those of images in memory.
batches.training_steps.register(Records, pipeline.training_steps)
batches.evaluation_steps.register(Records, pipeline.evaluation_steps)


@batches.training_batches.register(Records)
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

    Epoch e visits every example once, in an order drawn from (seed, e): the
    shards are permuted, the records of 32 of them at a time merged at random,
    and the result passes through a buffer of 4096. A start at a later step
    reads the epoch's earlier records, but decodes none.

    Images are random resized crops, mirrored half of the time, if `augment`,
    else those of evaluation. The keys hash the example's number in TFDS's
    training split, whatever is held out of it.

    Raises:
        ValueError: `batch_size` is above the number of training examples or
            below that of replicas, or `first_step` is not in an epoch.
    """
    size = source.size("train")
    pipeline.check_start(size, batch_size, first_step, drop_remainder)
    check_replicas(batch_size, shard)
    rows = None
    if drop_remainder:
        size -= size % batch_size
        rows = shard.equal_rows(batch_size)
    shards, sizes = opened(source, "train")

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
        examples = indices + source.slices["train"].start
        keys = augmentation.hashed(seed, epoch, examples)
        images, labels = decoded(source, serialized, keys, augment)
        weights = tf.fill(tf.shape(labels), 1 / tf.cast(total, tf.float32))
        batch = batches.Batch(images, labels, weights, keys)
        return finish(source, batch, augment) if finished else batch

    shares = pipeline.counted_from(first_epoch).flat_map(shares_of)
    return pipeline.ready(
        pipeline.in_parallel(shares, read), tf.data.INFINITE_CARDINALITY
    )


@batches.evaluation_batches.register(Records)
def evaluation_batches(
    source,
    split: str,
    batch_size: int,
    *,
    shard: batches.Shard = batches.Shard(),  # noqa: B008 - frozen
    finished: bool = True,
) -> tf.data.Dataset:
    """Returns a split once, in order; see `batches.evaluation_batches`.

    The shorter side is resized to 8/7 of the image size, and the middle is
    cropped. Padding is black, of class 0; all `keys` are 0.

    Raises:
        ValueError: `batch_size` is below 1 or the number of replicas, or
            there is no such split.
    """
    pipeline.check_batch_size(batch_size)
    check_replicas(batch_size, shard)
    size = source.size(split)
    shards, sizes = opened(source, split)
    width = pipeline.number_of_batches(batch_size, shard.num_replicas)
    turns = np.repeat(np.arange(len(sizes)), sizes)
    examples = records.in_turns(shards, turns).enumerate()

    def read(_, indices, serialized):
        del indices
        keys = tf.zeros(tf.shape(serialized), tf.uint32)
        images, labels = decoded(source, serialized, keys, augment=False)
        weights = tf.ones(tf.shape(labels))
        batch = batches.Batch(
            *(padded(each, width) for each in (images, labels, weights, keys))
        )
        return finish(source, batch, augment=False) if finished else batch

    start = tf.constant(0, tf.int64)
    shares = records.shares_from(start, examples, size, batch_size, shard)
    steps = pipeline.number_of_batches(size, batch_size)
    return pipeline.ready(
        pipeline.in_parallel(shares, read), steps * shard.count
    )


@batches.finish.register(Records)
def finish(source, batch: batches.Batch, augment: bool) -> batches.Batch:
    """Normalizes; cropped and flipped are the images when decoded."""
    del augment
    images = pipeline.normalized(batch.inputs, source.mean, source.std)
    return batch._replace(inputs=images)


def opened(
    source: Records, split: str
) -> tuple[list[tf.data.Dataset], list[int]]:
    """Opens the files of a split; see `records.open_shards`."""
    part = source.slices[split]
    return records.open_shards(
        source.folder.shards(part.split),
        source.num_bytes[part.split],
        part.start,
        part.stop,
    )


@batches.find_damage.register
def find_damage(source: Records):
    """Reads and decodes every record; see `batches.find_damage`."""

    def decode(encoded):
        # Training asks the header for the size, and crops what it tells.
        return jpeg.shape_of(encoded), tf.io.decode_jpeg(encoded, channels=3)

    splits = [part.split for part in source.slices.values()]
    damage.check_records(source.folder, sorted(set(splits)), decode)


def decoded(
    source: Records, serialized: tf.Tensor, keys: tf.Tensor, augment: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes examples side by side.

    Args:
        source: knows what is in an example.
        serialized: strings `[batch]`.
        keys: uint32 `[batch]`; not used without `augment`.
        augment: random resized crop and flip, else the central crop.

    Returns:
        Images, uint8, and labels, int32.
    """
    images, labels = examples.parsed(serialized, source.num_classes)

    def decode(arguments):
        encoded, key = arguments
        if augment:
            return jpeg.random_crop(encoded, key, source.image_size)
        return jpeg.central_crop(encoded, source.image_size)

    images = tf.map_fn(
        decode,
        (images, keys),
        fn_output_signature=tf.TensorSpec(source.image_shape, tf.uint8),
    )
    return images, labels


def padded(values: tf.Tensor, size: int) -> tf.Tensor:
    """Returns `size` rows: the given ones, then zeros."""
    missing = size - tf.shape(values)[0]
    paddings = [[0, missing]] + [[0, 0]] * (values.shape.rank - 1)
    return tf.ensure_shape(tf.pad(values, paddings), (size, *values.shape[1:]))


def check_replicas(batch_size: int, shard: batches.Shard):
    """Raises ValueError where a full batch has no example for a replica."""
    if batch_size < shard.num_replicas:
        raise ValueError(
            "`batch_size` must be at least the number of replicas, "
            f"{shard.num_replicas}. Received: batch_size={batch_size}"
        )
