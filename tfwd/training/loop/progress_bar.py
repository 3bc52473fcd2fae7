"""Keras' progress bar of an epoch."""

import sys

import keras

from tfwd.training.config import columns


def of(job):
    """Returns a function of (steps done, values) that draws the bar."""
    if not job.is_chief:
        return lambda done, values, finalize=False: None
    bar = keras.utils.Progbar(
        job.steps_per_epoch,
        # A log file gets one line per epoch instead of a moving bar.
        verbose=1 if sys.stdout.isatty() else 2,
        # They arrive averaged over the epoch so far.
        stateful_metrics=columns.of_epochs(job.task, job.counts_top_5),
    )

    def update(done, values, finalize=False):
        bar.update(done, list(values.items()), finalize=finalize)

    return update
