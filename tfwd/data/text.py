"""The Penn Treebank, or another text in such files, and batches of it.

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
import os
import pathlib

import numpy as np
import tensorflow as tf

from tfwd.data import augmentation
from tfwd.data import batches
from tfwd.data import partition
from tfwd.data import pipeline
from tfwd.data import words

FILES = {
    "train": "ptb.train.txt",
    "validation": "ptb.valid.txt",
    "test": "ptb.test.txt",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Text:
    """A text as word numbers.

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
        """The shape of one input of a model: so many words as there are."""
        return (None,)

    @property
    def split_names(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(FILES)

    @property
    def num_classes(self) -> int:
        """How many words there are to choose from."""
        return len(self.vocabulary)

    def tokens(self, split: str) -> np.ndarray:
        """Returns the word numbers of a split, or raises ValueError."""
        partition.check_split(split, self.split_names)
        return getattr(self, split)

    def size(self, split: str) -> int:
        """Returns the number of predictions of a split."""
        return len(self.tokens(split)) - 1


def load(
    data_dir: str | os.PathLike | None,
    bptt: int = 35,
    train_fraction: float = 1.0,
) -> Text:
    """Reads `ptb.{train,valid,test}.txt` in `data_dir`/ptb or `data_dir`.

    How their words become numbers is said in `words.encoded`; the vocabulary
    is that of the whole training text, whatever `train_fraction`.

    Args:
        data_dir: The folder with the files.
        bptt: Steps per segment.
        train_fraction: The training text is cut after this part of it.

    Raises:
        ValueError: A file is missing, cannot be read, is empty or not UTF-8,
            a word is not in the vocabulary, or an argument is out of its
            range.
    """
    if bptt < 1:
        raise ValueError(f"`bptt` must be at least 1. Received: bptt={bptt}")
    if not 0 < train_fraction <= 1:
        raise ValueError(
            "`train_fraction` must be in (0, 1]. "
            f"Received: train_fraction={train_fraction}"
        )
    paths = _paths(data_dir)
    tokens, vocabulary = words.encoded(paths)
    # One prediction needs two tokens.
    kept = max(2, round(train_fraction * len(tokens["train"])))
    tokens["train"] = tokens["train"][:kept]
    return Text("ptb", **tokens, vocabulary=vocabulary, bptt=bptt)


def _paths(data_dir):
    names = ", ".join(FILES.values())
    if data_dir is None:
        raise ValueError(
            f"`data_dir` must hold {names}. Received: data_dir=None"
        )
    root = pathlib.Path(data_dir).expanduser()
    folders = (root / "ptb", root)
    for folder in folders:
        paths = {split: folder / name for split, name in FILES.items()}
        if all(path.is_file() for path in paths.values()):
            return paths
    raise ValueError(
        f"`data_dir` must hold {names}; searched "
        f"{' and '.join(map(str, folders))}. "
        f"Received: data_dir={os.fspath(data_dir)}"
    )


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


@batches.training_steps.register
def training_steps(
    source: Text, batch_size: int, drop_remainder: bool = False
) -> int:
    """Returns the number of segments in an epoch, all of one size."""
    del drop_remainder
    return len(layout(source.train, batch_size, source.bptt)[0])


@batches.evaluation_steps.register
def evaluation_steps(source: Text, split: str, batch_size: int) -> int:
    """Returns the number of segments of a split."""
    return len(layout(source.tokens(split), batch_size, source.bptt)[0])


@batches.training_batches.register
def training_batches(
    source: Text,
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
    """Returns the segments of all epochs; see `batches.training_batches`.

    A replica's rows are the streams `shard.rows(batch_size, replica)` in
    every step, and `keys` the hash of (seed, epoch, segment * batch_size +
    stream). A later start costs nothing. All segments are full, so that there
    is no remainder to drop.

    Raises:
        ValueError: `batch_size` is below 1 or above the predictions,
            `first_step` is not in an epoch, or `augment` is asked for.
    """
    if augment:
        raise ValueError(
            f"`augment` must be False for text ({source.name}). "
            f"Received: augment={augment}"
        )
    del drop_remainder
    inputs, labels, there = layout(source.train, batch_size, source.bptt)
    weights = there / there.sum(axis=(1, 2), keepdims=True)
    steps = len(inputs)
    if not 0 <= first_step < steps:
        raise ValueError(
            "`first_step` must be at least 0 and below the number of steps "
            f"in an epoch, {steps}. Received: first_step={first_step}"
        )

    def keys(step, streams):
        index = step % steps * batch_size + streams
        return augmentation.hashed(seed, step // steps, index)

    first = (first_epoch * steps + first_step) * shard.count
    turns = pipeline.counted_from(first)
    segments = read(turns, (inputs, labels, weights), keys, shard)
    return pipeline.ready(segments, tf.data.INFINITE_CARDINALITY)


@batches.evaluation_batches.register
def evaluation_batches(
    source: Text,
    split: str,
    batch_size: int,
    *,
    shard: batches.Shard = batches.Shard(),  # noqa: B008 - frozen
    finished: bool = True,
) -> tf.data.Dataset:
    """Returns the segments of a split once; all `keys` are 0.

    A replica has the rows of `training_batches` here too: its streams are its
    own, and no row is there only to fill up.

    Raises:
        ValueError: `batch_size` is below 1 or above the predictions, or there
            is no such split.
    """
    arrays = layout(source.tokens(split), batch_size, source.bptt)

    def keys(step, streams):
        return tf.zeros_like(streams, tf.uint32)

    count = len(arrays[0]) * shard.count
    segments = read(tf.data.Dataset.range(count), arrays, keys, shard)
    return pipeline.ready(segments, count)


@batches.finish.register
def finish(source: Text, batch: batches.Batch, augment: bool) -> batches.Batch:
    """Returns the batch as it is."""
    return batch


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
