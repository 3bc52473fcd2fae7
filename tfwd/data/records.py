"""The encoded records of a data set in files, read in a reproducible order.

Every worker reads all records of an epoch in the same order and drops those
of other workers' replicas before anything is decoded. The order is a function
of (seed, epoch) alone, which that of `tf.data` and of libraries over it is not:
why, is said in `image_files`.
"""

import numpy as np
import psutil
import tensorflow as tf

from tfwd.data import batches

# Records of this many shards are mixed, then those of a buffer: 4096 encoded
# images of ImageNet are about 0.5 GB.
OPEN_SHARDS = 32
SHUFFLE_BUFFER = 4096
# Records of an open shard that are read ahead, so that the shards are read in
# parallel.
READ_AHEAD = 16
# Read from a file at once.
READ_BYTES = 2**18


def fits_in_memory(num_bytes: float, available: float) -> bool:
    """Whether encoded records are kept: below a quarter of the free memory.

    Args:
        num_bytes: size of a split's files.
        available: bytes that the machine can give without swapping.
    """
    return num_bytes < available / 4


def open_shards(
    files: list[tuple[str, int]], num_bytes: int, start: int, stop: int
) -> tuple[list[tf.data.Dataset], list[int]]:
    """Opens the files that hold the examples `start` to `stop` of a split.

    Encoded examples stay in memory after the first reading if
    `fits_in_memory`. The order is drawn afterwards, so that it does not depend
    on the machine's memory.

    Args:
        files: path and number of examples of each file of the split.
        num_bytes: size of these files.
        start: number of the first example.
        stop: number after that of the last example.

    Returns:
        The encoded examples of each file, and how many it has.
    """
    whole = sum(size for _, size in files)
    keep = fits_in_memory(
        num_bytes * (stop - start) / whole,
        psutil.virtual_memory().available,
    )
    shards, sizes, first = [], [], 0
    for path, size in files:
        skipped = max(start - first, 0)
        taken = min(stop - first, size) - skipped
        first += size
        if taken <= 0:
            continue
        records = file_of_records(path)
        if taken < size:
            records = records.skip(skipped).take(taken)
        # A shard that lacks records would shift the numbers of the others'.
        records = records.apply(tf.data.experimental.assert_cardinality(taken))
        if keep:
            records = records.cache()
        shards.append(records.prefetch(READ_AHEAD))
        sizes.append(taken)
    return shards, sizes


def file_of_records(path: str | list[str]) -> tf.data.Dataset:
    """Returns the records of a TFRecord file, or of several, as strings.

    `tf.data.TFRecordDataset` does the same, but it traces a function, which
    would take a minute for the shards of ImageNet.
    """
    variant = tf.raw_ops.TFRecordDataset(
        filenames=path, compression_type="", buffer_size=READ_BYTES
    )
    return tf.data.experimental.from_variant(
        variant, tf.TensorSpec((), tf.string)
    )


def random_order(
    sizes: list[int], seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws from which shard to take the next record, for a whole epoch.

    The shards are permuted and grouped by `OPEN_SHARDS`; within a group every
    merge of the shards, each read from its beginning, is equally likely.

    Args:
        sizes: number of records of each shard.
        seed: two int64.

    Returns:
        The shards' numbers and those of the records, counted from the first
        of the first shard, both int64 `[sum of sizes]`.
    """
    ranks = tf.random.experimental.stateless_shuffle(
        tf.range(len(sizes), dtype=tf.int64), seed=seed, alg="philox"
    )
    shard_of = np.repeat(np.arange(len(sizes)), sizes)
    group = tf.gather(ranks, shard_of) // OPEN_SHARDS
    ties = tf.random.stateless_uniform(
        group.shape, seed, maxval=2**31 - 1, dtype=tf.int32, alg="philox"
    )
    keys = group * 2**31 + tf.cast(ties, tf.int64)
    turns = tf.gather(shard_of, tf.argsort(keys, stable=True))
    # The k-th turn of a shard yields its k-th record.
    indices = tf.math.invert_permutation(tf.argsort(turns, stable=True))
    return turns, tf.cast(indices, tf.int64)


def shuffled(
    shards: list[tf.data.Dataset], sizes: list[int], seed: tf.Tensor
) -> tf.data.Dataset:
    """Returns all records of the shards in a `random_order`, once more mixed.

    The second mixing is by a buffer of `SHUFFLE_BUFFER` records.

    Args:
        shards: the encoded examples of each.
        sizes: how many it has.
        seed: two int64.

    Returns:
        Elements (index, serialized example); the index counts the records
        from the first one of the first shard.
    """
    turns, indices = random_order(sizes, seed)
    records = tf.data.Dataset.zip(
        tf.data.Dataset.from_tensor_slices(indices), in_turns(shards, turns)
    )
    buffer_seed = tf.random.stateless_uniform(
        (), seed, minval=1, maxval=2**62, dtype=tf.int64, alg="philox"
    )
    return buffer_shuffled(records, seed[0], buffer_seed)


def buffer_shuffled(
    records: tf.data.Dataset, seed: tf.Tensor, seed2: tf.Tensor
) -> tf.data.Dataset:
    """Returns the elements in the order in which a buffer of them is drawn.

    `tf.data.Dataset.shuffle` does the same, but takes one seed only. The other
    is TensorFlow's global one, on which the order would depend, and beside a
    global seed of 0 it cannot be a tensor.

    Args:
        records: any dataset.
        seed: int64.
        seed2: int64; TensorFlow takes two zeros for "at random".
    """
    variant = tf.raw_ops.ShuffleDatasetV3(
        input_dataset=tf.data.experimental.to_variant(records),
        buffer_size=tf.constant(SHUFFLE_BUFFER, tf.int64),
        seed=seed,
        seed2=seed2,
        seed_generator=tf.raw_ops.DummySeedGenerator(),
        reshuffle_each_iteration=False,
        **shapes_of(records.element_spec),
    )
    return tf.data.experimental.from_variant(variant, records.element_spec)


def shapes_of(spec) -> dict[str, list]:
    """Returns what a raw operation is told of a dataset's elements."""
    parts = tf.nest.flatten(spec)
    return {
        "output_types": [part.dtype for part in parts],
        "output_shapes": [part.shape for part in parts],
    }


def in_turns(shards: list[tf.data.Dataset], turns) -> tf.data.Dataset:
    """Returns the next record of shard `turns[0]`, of `turns[1]`, ..."""
    return tf.data.Dataset.choose_from_datasets(
        shards,
        tf.data.Dataset.from_tensor_slices(turns),
        stop_on_empty_dataset=False,
    )


def shares_from(
    start: tf.Tensor,
    records: tf.data.Dataset,
    size: int,
    batch_size: int,
    shard: batches.Shard,
) -> tf.data.Dataset:
    """Cuts an epoch into what each replica of a shard gets in each step.

    Args:
        start: the step to begin with, int64.
        records: all (index, serialized example) of the epoch.
        size: their number.
        batch_size: examples per global batch but the last.
        shard: the replicas to feed.

    Returns:
        Elements (examples in the global batch, indices, serialized), the
        latter two `[rows of the replica]`.
    """

    def span(total):
        last = shard.first + shard.count - 1
        return shard.rows(total, shard.first)[0], shard.rows(total, last)[1]

    def total_of(step):
        return tf.minimum(size - step * batch_size, batch_size)

    def is_ours(position, _):
        begin, end = span(total_of(position // batch_size))
        row = position % batch_size
        return (begin <= row) & (row < end)

    def cut(step, record):
        total = total_of(step)

        def share(turn):
            begin, end = (
                row - span(total)[0]
                for row in shard.rows(total, shard.first + turn)
            )
            return total, *(each[begin:end] for each in record)

        return tf.data.Dataset.range(shard.count).map(share)

    in_full, in_last = (
        end - begin
        for begin, end in (span(batch_size), span((size - 1) % batch_size + 1))
    )
    steps = (
        records.enumerate()
        .skip(start * batch_size)
        .filter(is_ours)
        .map(lambda _, record: record)
        .batch(in_full)
    )
    if in_last == 0:
        nothing = tuple(tf.zeros(0, spec.dtype) for spec in steps.element_spec)
        steps = steps.concatenate(tf.data.Dataset.from_tensors(nothing))
    return steps.enumerate(start).flat_map(cut)
