"""K-FAC's work beside the training steps: cold start, factors, inverses.

Collectives cannot stand inside `tf.cond` on several replicas. So each kind of
work is a compiled program of its own, and the host, which counts the steps,
chooses between them.
"""

import contextlib

from tfwd import kfac


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
    """

    def __init__(self, strategy, optimizer):
        self.strategy = strategy
        self.optimizer = optimizer
        self._done = set()
        # With accumulation a step is traced before the first inverses exist.
        optimizer.attachment.keep_refreshed()

    @property
    def kinds_done(self):
        """How many kinds of work were done; the first of a kind traces."""
        return len(self._done)

    def plain_steps(self, step, limit):
        """Counts the steps from `step` on, up to `limit`, without work."""
        return self.optimizer.schedule.idle_batches(step, limit)

    def backward(self):
        """The context of forward pass, gradients and `apply`."""
        return self.optimizer.preconditioned_backward()

    def before(self, step, batch):
        """Does what is due before the training step on `batch`."""
        self._do(self.optimizer.schedule.before(step), batch)

    def after(self, step, batch):
        """Does what is due after the training step on `batch`."""
        self._do(self.optimizer.schedule.after(step), batch)

    def cold_start(self, batches):
        """Averages the factors over all `batches`, then inverts them."""
        self.optimizer.cold_start(map(self._inputs, batches))

    def warn_of_failures(self):
        """Warns, once of each kind, of factors and steps that failed."""
        self.optimizer.warn_of_events()

    def _do(self, work, batch):
        inputs = self._inputs(batch)
        if work.factors:
            self.optimizer.update_factors(*inputs)
        if work.inverses:
            self.optimizer.update_inverses(work.inverses)
        if work:
            self._done.add((work, self._rows(batch)))

    def _inputs(self, batch):
        attached = self.optimizer.attachment
        if attached.rows_hint is None:
            # The loop of plain steps is traced for batches of any size.
            attached.rows_hint = self._rows(batch)
        images, labels, _ = batch
        if self.optimizer.curvature == "empirical":
            return images, labels
        return (images,)

    def _rows(self, batch):
        local = self.strategy.experimental_local_results(batch[0])
        return local[0].shape[0]


def of(strategy, optimizer):
    """Returns the `Work` or `NoWork` of an optimizer, or of none."""
    if isinstance(optimizer, kfac.KFAC):
        return Work(strategy, optimizer)
    return NoWork()
