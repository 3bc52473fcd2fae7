"""Training as the binary does it, on data in memory, without a folder."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfwd import data
from tfwd.training.checkpoint import progress as progress_lib
from tfwd.training.config import settings as settings_lib
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.loop import loop as loop_lib
from tfwd.training.setup import build
from tfwd.training.setup import inputs
from tfwd.training.setup import optimization as optimizer_lib


@dataclasses.dataclass(frozen=True)
class Training:
    """A model with what trains it; `progress` says how far that has come.

    Not a `Job` of the binary, which also keeps, measures and restores.
    """

    settings: settings_lib.Settings
    strategy: tf.distribute.Strategy
    source: object
    built: build.Built
    loop: loop_lib.Loop
    progress: progress_lib.Progress

    @property
    def model(self):
        """The model."""
        return self.built.model

    @property
    def optimizer(self):
        """The optimizer."""
        return self.built.optimizer

    @property
    def steps_per_epoch(self):
        """Training steps in an epoch."""
        return inputs.training_steps(self.settings, self.source)

    def batches(self, step):
        """Returns the distributed batches from a step on, without end."""
        return inputs.distributed(
            self.strategy,
            inputs.training_batches(
                self.settings, self.source, self.strategy, step
            ),
        )


def make_training(settings, source):
    """Returns a `Training` at step 0.

    Args:
        settings: `Settings`, whose `dataset` is not loaded.
        source: A data set of `tfwd.data`.
    """
    keras.utils.set_random_seed(settings.run.seed)
    strategy = strategy_lib.create(settings.distribution)
    plan = optimizer_lib.plan(settings, inputs.training_steps(settings, source))
    built = build.build(settings, strategy, source, plan)
    return Training(
        settings,
        strategy,
        source,
        built,
        build.make_loop(
            settings, strategy, source, built.model, built.optimizer
        ),
        progress_lib.Progress(),
    )


def random_splits(name, shape, num_classes, size):
    """Returns `Splits` of random images and labels.

    Args:
        name: Of a data set that has such images.
        shape: (height, width, channels).
        num_classes: How many labels there are.
        size: Training examples; one of them is the test set.
    """
    generator = np.random.default_rng(1)
    images = generator.integers(256, size=(size, *shape), dtype=np.uint8)
    labels = generator.integers(num_classes, size=size, dtype=np.int32)
    examples = data.Examples(images, labels)
    return data.Splits(
        name=name,
        train=examples,
        validation=None,
        test=examples.take(np.arange(1)),
        num_classes=num_classes,
        image_shape=shape,
        mean=(0.5,) * shape[-1],
        std=(0.25,) * shape[-1],
    )
