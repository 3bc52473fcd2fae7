"""What every data set hands to training: batches, one per replica.

The functions here are generic over the kind of data set: images in memory,
images read from files, text. A kind registers its own form of each.
"""

import dataclasses
import functools
import typing

import tensorflow as tf


class Batch(typing.NamedTuple):
    """The examples of one replica in one step.

    Attributes:
        inputs: Images, uint8 or float32 [n, height, width, channels], or
            token ids, int32 [n, time].
        labels: Class numbers, int32 [n], or the next tokens, [n, time].
        weights: float32, of the shape of `labels`. In training 1 / (number of
            predictions in the global batch), in evaluation 1, and 0 for
            padding: the sum of weights * losses over all replicas is the mean
            loss, however the batch is divided.
        keys: uint32 [n], hash of (seed, epoch, example); whatever is random
            about an example is a function of it.
    """

    inputs: tf.Tensor
    labels: tf.Tensor
    weights: tf.Tensor
    keys: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Shard:
    """The replicas that one input pipeline feeds.

    Args:
        num_replicas: Of the whole strategy.
        first: Number of the first replica fed.
        count: How many are fed; the pipeline yields their batches in turn.
    """

    num_replicas: int = 1
    first: int = 0
    count: int = 1

    def rows(self, size, replica):
        """Returns where a replica's share of `size` rows starts and stops.

        The shares are consecutive and differ by at most one row; ints or
        integer tensors.
        """
        return (
            replica * size // self.num_replicas,
            (replica + 1) * size // self.num_replicas,
        )

    def equal_rows(self, size: int) -> int | None:
        """Returns every replica's share of `size`, None if they differ."""
        rows, rest = divmod(size, self.num_replicas)
        return None if rest else rows


@functools.singledispatch
def training_steps(
    source, batch_size: int, drop_remainder: bool = False
) -> int:
    """Returns the number of global batches in an epoch.

    Args:
        source: The data set.
        batch_size: Examples per global batch; for text the streams.
        drop_remainder: As in `training_batches`.
    """
    raise TypeError(f"Not a data set: {type(source).__name__}")


@functools.singledispatch
def training_batches(
    source,
    batch_size: int,
    *,
    seed: int,
    augment: bool,
    shard: Shard = Shard(),  # noqa: B008 - frozen
    first_epoch: int = 0,
    first_step: int = 0,
    finished: bool = True,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Returns the batches of all epochs from one step on, without end.

    What a step holds depends on (seed, epoch, step) alone, not on where the
    dataset starts or on how many replicas there are.

    Args:
        source: The data set.
        batch_size: Examples per global batch; for text the streams.
        seed: Determines, with the epoch, order, augmentation and `keys`.
        augment: Whether images are cropped and flipped at random.
        shard: The replicas to feed.
        first_epoch: The epoch to start in, from 0.
        first_step: The step of that epoch to start with, from 0.
        finished: False leaves to `finish`, on the device, what it does.
        drop_remainder: Leaves out the last batch of an epoch if it is not
            full. Every shape is static then, as TPUs want it, where the
            replicas divide `batch_size`.

    Returns:
        Elements `Batch`: step by step, in each the replicas of `shard`.

    Raises:
        ValueError: A batch size or an augmentation that is not possible.
    """
    raise TypeError(f"Not a data set: {type(source).__name__}")


@functools.singledispatch
def evaluation_steps(source, split: str, batch_size: int) -> int:
    """Returns the number of global batches of a split."""
    raise TypeError(f"Not a data set: {type(source).__name__}")


@functools.singledispatch
def evaluation_batches(
    source,
    split: str,
    batch_size: int,
    *,
    shard: Shard = Shard(),  # noqa: B008 - frozen
    finished: bool = True,
) -> tf.data.Dataset:
    """Returns all predictions of a split once, in order, in equal batches.

    Every batch has ceil(batch_size / replicas) rows; padding has weight 0.

    Args:
        source: The data set.
        split: "train", "validation" or "test".
        batch_size: Examples per global batch; for text the streams.
        shard: The replicas to feed.
        finished: As in `training_batches`.

    Returns:
        Elements `Batch`: step by step, in each the replicas of `shard`.

    Raises:
        ValueError: `batch_size` is below 1, or there is no such split.
    """
    raise TypeError(f"Not a data set: {type(source).__name__}")


@functools.singledispatch
def finish(source, batch: Batch, augment: bool) -> Batch:
    """Does what is cheaper on an accelerator: augments and normalizes.

    A function of tensors, to be called in a pipeline or in a compiled step.
    """
    raise TypeError(f"Not a data set: {type(source).__name__}")


@functools.singledispatch
def find_damage(source):
    """Looks for what is damaged in the files that training reads.

    Does nothing for a data set in memory, of which all was read before.

    Args:
        source: The data set. Reading all of it takes as long as an epoch.

    Raises:
        ValueError: A file is damaged; the message names it.
    """
