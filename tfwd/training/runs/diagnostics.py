"""The diagnostics of a run: measured between epochs, and what they leave."""

import tensorflow as tf

from tfwd import data
from tfwd import durable
from tfwd.data import pipeline
from tfwd.diagnostics import mechanisms
from tfwd.diagnostics import table
from tfwd.diagnostics.backend import tensorflow_summaries
from tfwd.training.config import rules
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.runs import run_files

# These look at the weights alone.
WITHOUT_DATA = ("effective_learning_rate", "damping")
_LARGEST_BATCH = 250


class Diagnostics:
    """Measures a model between epochs, which changes nothing of the run.

    Everything is a collective: each worker measures, the one that has opened a
    folder writes there.

    Args:
        settings: `Settings` with `diagnostics`.
        strategy: The strategy of the run.
        source: The data set.
        model: The built model.
        optimizer: Its optimizer.

    Raises:
        ValueError: The model cannot have one of the diagnostics.
    """

    def __init__(self, settings, strategy, source, model, optimizer):
        names = settings.diagnostics
        self._every = settings.diagnostics_every
        self._optimizer = optimizer
        self._mechanisms = mechanisms.Mechanisms(
            model,
            names,
            projections=settings.diagnostics_projections,
            seed=settings.seed,
        )
        self._batches = ()
        if set(names) - set(WITHOUT_DATA):
            self._batches = batches(
                source, "train", settings.diagnostics_examples, strategy
            )
        self._writers, self._summaries = [], None

    def open(self, folder, last_epoch, tensorboard=None, first_step=0):
        """Lets measurements be written to a folder.

        Args:
            folder: A `pathlib.Path`.
            last_epoch: The rows up to it are kept where there are any; None
                keeps none.
            tensorboard: None, or the folder of TensorBoard summaries.
            first_step: What that folder holds from this step on is void.
        """
        self._writers = [
            table.File(run_files.Files(folder).diagnostics, last_epoch)
        ]
        if tensorboard is not None:
            self._summaries = tensorflow_summaries.Summaries(
                tensorboard, first_step
            )
            self._writers.append(self._summaries)

    def close(self):
        """Closes what `open` has opened; nothing is written from then on."""
        if self._summaries is not None:
            self._summaries.close()
        self._writers, self._summaries = [], None

    def is_due(self, epoch):
        """Whether to measure after so many epochs."""
        return epoch % self._every == 0

    def measure(self, epoch, step):
        """Measures the model as it is after `epoch` epochs, `step` steps."""
        rows = self._mechanisms.measure(self._batches, self._optimizer)
        rows = [{**row, "epoch": epoch, "step": step} for row in rows]
        for writer in self._writers:
            writer.append(rows)


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
    parts = data.evaluation_batches(source, split, width).repeat()
    parts = parts.take(steps * replicas).enumerate().filter(is_mine)
    parts = pipeline.ready(parts.map(weighted), steps * shard.count)
    return strategy.distribute_datasets_from_function(lambda context: parts)


def draw(folder, title):
    """Draws mechanisms.png of a folder's diagnostics.csv, if it has any."""
    files = run_files.Files(folder)
    rows = []
    if files.diagnostics.exists():
        rows = table.read(files.diagnostics)
    if rows:
        # Slow to import, and of no use before.
        from tfwd.diagnostics import mechanism_plots

        durable.replace(
            files.mechanisms,
            lambda partial: mechanism_plots.draw(rows, title, partial),
        )


def cost(folder, elapsed_seconds):
    """Returns one line on the time that a folder's measurements took.

    Args:
        folder: A `pathlib.Path` with a diagnostics.csv.
        elapsed_seconds: Time of the run, with that of the measurements.
    """
    rows = table.read(run_files.Files(folder).diagnostics)
    seconds = sum(row["seconds"] or 0.0 for row in rows)
    return table.cost(seconds, elapsed_seconds)
