"""Batches of a text, which a model reads from step to step.

The n tokens of a split are n - 1 predictions of the next token. They are laid
out as `[segments, streams, bptt]`: B streams of L = ceil((n - 1) / B)
consecutive predictions each, cut into segments of `bptt` steps. Whatever pads
the end of the last streams and of the last segment has weight 0, so that every
token but the first is predicted exactly once.

One step is one segment. Row b of segment s + 1 continues row b of segment s,
on the same replica, so a model can carry its state from step to step. The
caller counts the steps and resets the state at every segment 0: at steps that
`training_steps` or `evaluation_steps` divides.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tfwd.data import augmentation
from tfwd.data import batches
from tfwd.data import pipeline
from tfwd.data import source


@dataclasses.dataclass(frozen=True, eq=False)
class Text(source.Source):
    """A text as token numbers.

    Args:
        name: The name that `tfwd.data.load` was given.
        train: int32 `[tokens]`, what the model is trained on.
        validation: int32 `[tokens]`.
        test: int32 `[tokens]`.
        vocabulary: The words, at the places that the tokens give; the most
            frequent one of the training text first.
        bptt: Steps per segment, through which gradients flow.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    vocabulary: tuple[str, ...]
    bptt: int = 35

    @property
    def input_shape(self) -> tuple[None]:
        """The shape of one input of a model: so many tokens as there are."""
        return (None,)

    @property
    def split_names(self) -> tuple[str, ...]:
        """The names of the splits."""
        return ("train", "validation", "test")

    @property
    def num_classes(self) -> int:
        """How many words there are to choose from."""
        return len(self.vocabulary)

    def tokens(self, split: str) -> np.ndarray:
        """Returns the token numbers of a split, or raises ValueError."""
        self.check_split(split)
        return getattr(self, split)

    def size(self, split: str) -> int:
        """Returns the number of predictions of a split."""
        return len(self.tokens(split)) - 1

    def training_steps(
        self, batch_size: int, drop_remainder: bool = False
    ) -> int:
        """Returns the number of segments in an epoch, all of one size."""
        del drop_remainder
        return self.evaluation_steps("train", batch_size)

    def evaluation_steps(self, split: str, batch_size: int) -> int:
        """Returns the number of segments of a split."""
        return len(layout(self.tokens(split), batch_size, self.bptt)[0])

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
        """Returns the segments of all epochs; see `Source.training_batches`.

        A replica's rows are the streams `shard.rows(batch_size, replica)` in
        every step, and `keys` the hash of (seed, epoch, segment * batch_size +
        stream). A later start costs nothing. All segments are full, so that
        there is no remainder to drop.

        Raises:
            ValueError: `batch_size` is below 1 or above the predictions,
                `first_step` is not in an epoch, or `augment` is asked for.
        """
        if augment:
            raise ValueError(
                f"`augment` must be False for text ({self.name}). "
                f"Received: augment={augment}"
            )
        del finished, drop_remainder
        inputs, labels, there = layout(self.train, batch_size, self.bptt)
        weights = there / there.sum(axis=(1, 2), keepdims=True)
        steps = len(inputs)
        pipeline.check_first_step(first_step, steps)

        def keys(step, streams):
            index = step % steps * batch_size + streams
            return augmentation.hashed(seed, step // steps, index)

        first = (first_epoch * steps + first_step) * shard.count
        turns = pipeline.counted_from(first)
        segments = read(turns, (inputs, labels, weights), keys, shard)
        return pipeline.ready(segments, tf.data.INFINITE_CARDINALITY)

    def evaluation_batches(
        self,
        split: str,
        batch_size: int,
        *,
        shard: batches.Shard = batches.Shard(),  # noqa: B008 - frozen
        finished: bool = True,
    ) -> tf.data.Dataset:
        """Returns the segments of a split; see `Source.evaluation_batches`.

        A replica has the rows of `training_batches` here too: its streams are
        its own, and no row is there only to fill up.

        Raises:
            ValueError: `batch_size` is below 1 or above the predictions, or
                there is no such split.
        """
        del finished
        arrays = layout(self.tokens(split), batch_size, self.bptt)

        def keys(step, streams):
            return tf.zeros_like(streams, tf.uint32)

        count = len(arrays[0]) * shard.count
        segments = read(tf.data.Dataset.range(count), arrays, keys, shard)
        return pipeline.ready(segments, count)

    def finish(self, batch: batches.Batch, augment: bool) -> batches.Batch:
        """Returns the batch as it is."""
        return batch


def layout(
    tokens: np.ndarray, num_streams: int, bptt: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lays the predictions of a text out in streams and segments.

    Args:
        tokens: int32 `[tokens]`.
        num_streams: B, at most the number of predictions.
        bptt: Steps per segment.

    Returns:
        inputs and labels, int32, and which of them are there, 1.0 or 0.0;
        all `[segments, num_streams, bptt]`.

    Raises:
        ValueError: `num_streams` is below 1 or above the predictions.
    """
    size = len(tokens) - 1
    if not 1 <= num_streams <= size:
        raise ValueError(
            f"`batch_size` must be at least 1 and at most the {size} "
            f"predictions of the text. Received: batch_size={num_streams}"
        )
    length = pipeline.number_of_batches(size, num_streams)
    segments = pipeline.number_of_batches(length, bptt)

    def arrange(values):
        padded = np.pad(values, (0, num_streams * length - size))
        streams = padded.reshape(num_streams, length)
        streams = np.pad(streams, ((0, 0), (0, segments * bptt - length)))
        return streams.reshape(num_streams, segments, bptt).swapaxes(0, 1)

    there = np.ones(size, np.float32)
    return arrange(tokens[:-1]), arrange(tokens[1:]), arrange(there)


def read(turns, arrays, keys, shard: batches.Shard) -> tf.data.Dataset:
    """Returns the `Batch` of every turn.

    Args:
        turns: Dataset of int64: step * shard.count + the replica's place
            among those that are fed.
        arrays: inputs, labels, weights, `[segments, streams, bptt]`; after
            the last segment comes the first one.
        keys: Function of the step and the numbers of the streams.
        shard: The replicas to feed.
    """
    segments, num_streams, bptt = arrays[0].shape
    with tf.device("CPU:0"):
        tensors = [tf.convert_to_tensor(array) for array in arrays]
    # Static, for compilers, unless the replicas differ in it.
    num_rows = shard.equal_rows(num_streams)

    def segment(turn):
        step, replica = turn // shard.count, shard.first + turn % shard.count
        start, stop = shard.rows(num_streams, replica)
        streams = tf.ensure_shape(tf.range(start, stop), [num_rows])
        rows = (
            tf.ensure_shape(
                tensor[step % segments, start:stop], [num_rows, bptt]
            )
            for tensor in tensors
        )
        return batches.Batch(*rows, keys(step, streams))

    return pipeline.in_parallel(turns, segment)
