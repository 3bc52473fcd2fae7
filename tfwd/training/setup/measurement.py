"""What the diagnostics of a model are measured on, and which it can have."""

import tensorflow as tf

from tfwd.data import pipeline
from tfwd.training.config import rules
from tfwd.training.distributed import strategy as strategy_lib

# These look at the weights alone.
WITHOUT_DATA = ("effective_learning_rate", "damping")
_LARGEST_BATCH = 250


def check(names, task):
    """Checks that models for a task can have these diagnostics.

    Raises:
        ValueError: A text model cannot have one: words have no derivative, and
            its recurrent layers no curvature here.
    """
    for name in names:
        if task == "language_model" and name not in WITHOUT_DATA:
            rules.refuse(
                "diagnostics",
                f"must be among {', '.join(WITHOUT_DATA)} for --model=lstm, "
                "whose words have no derivative and whose recurrent layers "
                "no curvature",
                name,
            )


def batches(source, split, examples, strategy):
    """The first examples of a split, without augmentation.

    Args:
        source: The data set.
        split: "train", "validation" or "test".
        examples: How many; all of them where there are fewer.
        strategy: The replicas of which share each batch.

    Returns:
        A distributed dataset of (inputs, labels, weights), the weights 1 for
        examples and 0 for padding, which comes after all of them. It can be
        gone through again and again.
    """
    shard = strategy_lib.shard(strategy)
    replicas = shard.num_replicas
    count = min(source.size(split), examples)
    steps = pipeline.number_of_batches(count, _LARGEST_BATCH)
    width = pipeline.number_of_batches(count, steps * replicas)

    def is_mine(number, batch):
        del batch
        replica = number % replicas - shard.first
        return (replica >= 0) & (replica < shard.count)

    def weighted(number, batch):
        rows = number * width + tf.range(width, dtype=tf.int64)
        weights = tf.cast(rows < count, tf.float32)
        return batch.inputs, batch.labels, weights

    # Cut here and not by `evaluation_batches`, which pads each batch: so the
    # examples have the same numbers, and random signs, on all strategies.
    parts = source.evaluation_batches(split, width).repeat()
    parts = parts.take(steps * replicas).enumerate().filter(is_mine)
    parts = pipeline.ready(parts.map(weighted), steps * shard.count)
    return strategy.distribute_datasets_from_function(lambda context: parts)
