"""Eleven random examples in batches of 4, 4 and 3, and loops over them.

Two replicas get unequal shares of the last batch.
"""

import keras
import numpy as np
import tensorflow as tf

from tfwd import data
from tfwd.training.config import settings as settings_lib
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.loop import kfac_work
from tfwd.training.loop import loop as loop_lib
from tfwd.training.loop import step as step_lib

CLASSES, FEATURES, EXAMPLES, BATCH, STEPS = 3, 4, 11, 4, 3
RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
LABELS = RANDOM.integers(CLASSES, size=EXAMPLES).astype(np.int32)


def mirrored(replicas):
    return strategy_lib.create(
        settings_lib.Settings(
            strategy="mirrored", num_devices=replicas
        ).distribution
    )


def batches(strategy, epochs=1, images=IMAGES, weight=None):
    """The batches of all replicas in turn; weights 1 / (size of the batch)."""
    shard = strategy_lib.shard(strategy)

    def generate():
        for start in [*range(0, EXAMPLES, BATCH)] * epochs:
            whole = min(BATCH, EXAMPLES - start)
            for replica in range(shard.num_replicas):
                first, last = shard.rows(whole, replica)
                rows = slice(start + first, start + last)
                size = last - first
                share = np.full(size, weight or 1 / whole, np.float32)
                keys = np.zeros(size, np.uint32)
                yield data.Batch(images[rows], LABELS[rows], share, keys)

    return tf.data.Dataset.from_generator(
        generate,
        output_signature=data.Batch(
            tf.TensorSpec((None, *images.shape[1:]), tf.float32),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((None,), tf.uint32),
        ),
    )


def distributed(strategy, **arguments):
    return strategy.distribute_datasets_from_function(
        lambda context: batches(strategy, **arguments)
    )


def made_loop(strategy, layers, optimizer, use_bias=True):
    """A `Loop`; `layers` are those before the last, which is dense.

    Args:
        strategy: In whose scope all is made.
        layers: A function that returns `keras.Input` and layers.
        optimizer: A function of the model that returns a built optimizer.
        use_bias: Of the last layer.
    """
    with strategy.scope():
        model = keras.Sequential(
            [*layers(), keras.layers.Dense(CLASSES, use_bias=use_bias)]
        )
        made = optimizer(model)
    step = step_lib.Step(model, made, curvature=kfac_work.of(strategy, made))
    return loop_lib.Loop(strategy, step)


def trained(loop, epochs=1, limit=10, images=IMAGES):
    """Trains for some epochs; returns each one's (mean loss, accuracy)."""
    iterator = iter(distributed(loop.strategy, epochs=epochs, images=images))
    means, step = [], 0
    for epoch in range(1, epochs + 1):
        calls = []
        while step < epoch * STEPS:
            most = min(limit, epoch * STEPS - step)
            calls.append(loop.advance(iterator, step, most))
            step += calls[-1].steps
        predictions = sum(call.predictions for call in calls)
        assert predictions == EXAMPLES
        means.append(
            (
                sum(call.loss for call in calls) / predictions,
                sum(call.correct for call in calls) / predictions,
            )
        )
    return means
