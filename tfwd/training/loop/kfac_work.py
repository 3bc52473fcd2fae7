"""K-FAC's work beside the training steps: cold start, factors, inverses.

Collectives cannot stand inside `tf.cond` on several replicas. So each kind of
work is a compiled program of its own, and the host, which counts the steps,
chooses between them.
"""

import contextlib

import tensorflow as tf

from tfwd import kfac
from tfwd.kfac import schedule as schedule_lib
from tfwd.kfac.backend import tensorflow_backend
from tfwd.models import dropout


class NoWork:
    """Of a first-order optimizer: every step is a plain one."""

    kinds_done = 0

    def plain_steps(self, step, limit):
        """Returns `limit`."""
        return limit

    def backward(self):
        """A context that does nothing."""
        return contextlib.nullcontext()

    def warn_of_failures(self):
        """Does nothing."""


class Work:
    """Of K-FAC: tells the steps on which work is due, and does it.

    Steps are batches seen so far, so the first is 0.

    Args:
        strategy: The `tf.distribute.Strategy` that made the optimizer.
        optimizer: A built `kfac.KFAC`, attached to the model.
        finish: As in `step.Step`.
        windows: `accumulation.Windows` where several steps make one update:
            the factors see each of its steps, and its last one the inverses.
    """

    def __init__(self, strategy, optimizer, finish, windows=None):
        self.strategy = strategy
        self.optimizer = optimizer
        self.finish = finish
        self.windows = windows
        self._done = set()
        self._update = tf.function(self._update_factors, reduce_retracing=True)
        self._average = tf.function(
            self._average_factors, reduce_retracing=True
        )
        # With accumulation a step is traced before the first inverses exist.
        optimizer.attachment.keep_refreshed()

    @property
    def kinds_done(self):
        """How many kinds of work were done; the first of a kind traces."""
        return len(self._done)

    def plain_steps(self, step, limit):
        """Counts the steps from `step` on, up to `limit`, without work."""
        schedule = self.optimizer.schedule
        if not self.windows:
            return schedule.idle_batches(step, limit)
        for count in range(limit):
            if self._due(schedule, step + count):
                return count
        return limit

    def backward(self):
        """The context of forward pass, gradients and `apply`."""
        return self.optimizer.preconditioned_backward()

    def before(self, step, batch):
        """Does what is due before the training step on `batch`."""
        schedule = self.optimizer.schedule
        if not self.windows:
            self._do(schedule.before(step), batch)
            return
        place = self.windows.at(step)
        part = tf.constant(place.part), tf.constant(place.size)
        self._do(self._due(schedule, step), batch, part)

    def after(self, step, batch):
        """Does what is due after the training step on `batch`."""
        # In windows the order is that of the algorithm, before the steps.
        if not self.windows:
            self._do(self.optimizer.schedule.after(step), batch)

    def _due(self, schedule, step):
        place = self.windows.at(step)
        due = schedule.before(place.update)
        return due if place.is_last else schedule_lib.Work(due.factors)

    @property
    def had_cold_start(self):
        """Whether the factors began as an average over an epoch."""
        return self.optimizer.schedule.cold_started

    def cold_start(self, batches):
        """Averages the factors over all `batches`, then inverts them."""
        self.optimizer.cold_start(batches, self._add_to_average)

    def warn_of_failures(self):
        """Warns, once of each kind, of factors and steps that failed."""
        self.optimizer.warn_of_events()

    def _do(self, work, batch, part=(None, None)):
        self._tell_rows(batch)
        if work.factors:
            with tensorflow_backend.full_precision():
                self._update(batch, *part)
        if work.inverses:
            self.optimizer.update_inverses(work.inverses)
        if work:
            self._done.add((work, self._rows(batch)))

    def _add_to_average(self, batch, count, step):
        self._tell_rows(batch)
        with tensorflow_backend.full_precision():
            self._average(batch, tf.constant(count), tf.constant(step))

    def _update_factors(self, batch, part=None, parts=None):
        def on_replica(batch):
            with self._finished(batch) as (inputs, labels):
                attached = self.optimizer.attachment
                attached.add_batch(
                    inputs, labels, None, attached.next_term(part, parts)
                )

        self.strategy.run(on_replica, (batch,))

    def _average_factors(self, batch, count, step):
        def on_replica(batch):
            with self._finished(batch) as (inputs, labels):
                self.optimizer.attachment.average_factors(
                    inputs, labels, None, count, step
                )

        self.strategy.run(on_replica, (batch,))

    @contextlib.contextmanager
    def _finished(self, batch):
        """What the curvature takes, with the dropout masks of the step."""
        batch = self.finish(batch, True)
        empirical = self.optimizer.curvature == "empirical"
        with dropout.keyed(batch.keys):
            yield batch.inputs, batch.labels if empirical else None

    def _tell_rows(self, batch):
        attached = self.optimizer.attachment
        if attached.rows_hint is None:
            # The loop of plain steps is traced for batches of any size.
            attached.rows_hint = self._rows(batch)

    def _rows(self, batch):
        local = self.strategy.experimental_local_results(batch.labels)
        return local[0].shape[0]


def of(strategy, optimizer, finish=lambda batch, training: batch, windows=None):
    """Returns the `Work` or `NoWork` of an optimizer, or of none."""
    if isinstance(optimizer, kfac.KFAC):
        return Work(strategy, optimizer, finish, windows)
    return NoWork()
