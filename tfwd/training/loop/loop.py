"""Our own loop: many steps per call, equal on one replica and on many."""

import math
import time
import typing

import keras
import tensorflow as tf


class NonFiniteError(ValueError):
    """Loss, gradients or weights became NaN or infinite."""


class Advance(typing.NamedTuple):
    """What one compiled call did.

    Attributes:
        steps: Training steps taken.
        loss: Sum of the losses of all predictions.
        correct: How many predictions were right.
        predictions: Their number.
        is_finite: Whether all was finite; if not, the last of the steps is
            the one where it was not, and its update was not made.
        seconds: Wall time; None if the call traced a program.
    """

    steps: int
    loss: float
    correct: float
    predictions: float
    is_finite: bool
    seconds: float | None


class Loop:
    """Trains and evaluates one model under one strategy.

    Args:
        strategy: The `tf.distribute.Strategy` that made model and optimizer.
        step: The `step.Step` of one replica.
        jit_compile: Whether XLA compiles the training step.
        windows: `accumulation.Windows` of which each makes one update; None
            where every step makes one.
    """

    def __init__(self, strategy, step, jit_compile=False, windows=None):
        self.strategy = strategy
        self.replica_step = step
        self.curvature = step.curvature
        self.windows = windows
        self._jit_compile = jit_compile
        self._evaluation_sums = 4 if step.counts_top_5 else 3
        self.retrace()
        self._evaluate = tf.function(self._evaluation_steps)
        self._average = tf.function(self._average_on_replicas)

    def retrace(self):
        """Lets the next step be compiled anew, with constants as they are."""
        step = self.replica_step
        self._train_step, self._open_step = (
            tf.function(each, jit_compile=True) if self._jit_compile else each
            for each in (step.train, step.accumulate)
        )
        self._train = tf.function(self._train_steps)
        self._train_one = tf.function(self._closing_step)
        self._open = tf.function(self._open_steps)
        self._open_one = tf.function(self._opening_step)
        self._train_all = tf.function(self._train_windows)

    def start_epoch(self):
        """Lets a text begin anew; does nothing for images."""
        if self.replica_step.recurrent_state:
            self.replica_step.recurrent_state.reset()

    def advance(self, iterator, step, limit):
        """Takes up to `limit` plain steps, or one with its curvature work.

        Ends early after a step that was not finite.

        Args:
            iterator: Over distributed `Batch`es.
            step: How many steps were taken before.
            limit: The most steps to take.

        Returns:
            An `Advance`.
        """
        start, traces = time.perf_counter(), self._traces()
        count = self.curvature.plain_steps(step, limit)
        if count:
            count, sums, is_finite = self._plain(iterator, step, count)
        else:
            batch = next(iterator)
            self.curvature.before(step, batch)
            makes_update = not self.windows or self.windows.at(step).is_last
            train = self._train_one if makes_update else self._open_one
            sums, is_finite = train(batch)
            self.curvature.after(step, batch)
            count = tf.constant(1)
        loss, correct, predictions = map(float, sums.numpy())
        seconds = time.perf_counter() - start
        return Advance(
            int(count),
            loss,
            correct,
            predictions,
            bool(is_finite),
            seconds if self._traces() == traces else None,
        )

    def evaluate(
        self, batches, num_steps, steps_per_call=10, on_call=lambda: None
    ):
        """Loss and accuracy, and top-5 accuracy if counted, in inference mode.

        Args:
            batches: A distributed dataset of `Batch`es.
            num_steps: The number of its global batches.
            steps_per_call: Steps per call of the compiled function.
            on_call: Called after each of these calls.

        Returns:
            (mean loss, accuracy) over all predictions, and top-5 accuracy
            where the step counts it.
        """
        self.start_epoch()
        totals = [0.0] * self._evaluation_sums
        iterator = iter(batches)
        for done in range(0, num_steps, steps_per_call):
            count = min(steps_per_call, num_steps - done)
            sums = self._evaluate(iterator, tf.constant(count)).numpy()
            # 64 bits: float32 would lose counts beyond 16 million.
            totals = [a + float(b) for a, b in zip(totals, sums, strict=True)]
            on_call()
        loss, correct, predictions, *hits = totals
        return tuple(each / predictions for each in (loss, correct, *hits))

    def average_replica_state(self):
        """Makes moving averages equal on all replicas: the mean of theirs.

        Keras (3.15) creates them without aggregation, so that each replica
        keeps those of its own examples, evaluates with them, and only the
        first one's would be saved. A collective of all workers.
        """
        if self.strategy.num_replicas_in_sync > 1 and self._averaged():
            self._average()

    def _averaged(self):
        return [
            variable
            for variable in self.replica_step.model.non_trainable_variables
            if keras.backend.is_float_dtype(variable.dtype)
        ]

    def _average_on_replicas(self):
        def on_replica():
            variables = self._averaged()
            means = tf.distribute.get_replica_context().all_reduce(
                # A copy: a mere reading has no device, which several
                # processes ask for.
                "MEAN",
                [tf.identity(tf.convert_to_tensor(v)) for v in variables],
            )
            for variable, mean in zip(variables, means, strict=True):
                variable.assign(mean)

        self.strategy.run(on_replica)

    def _traces(self):
        return self.curvature.kinds_done + sum(
            each.experimental_get_tracing_count()
            for each in (
                self._train,
                self._train_one,
                self._open,
                self._open_one,
                self._train_all,
            )
        )

    def _plain(self, iterator, step, count):
        """Takes up to `count` plain steps in one call."""
        if not self.windows:
            return self._train(iterator, tf.constant(count))
        place = self.windows.at(step)
        left = place.size - place.part
        if count < left:
            return self._open(iterator, tf.constant(count))
        # Only the last window of an epoch has another size, and a call does
        # not go beyond the epoch.
        windows = count // left if place.part == 0 else 1
        return self._train_all(
            iterator, tf.constant(windows), tf.constant(left - 1)
        )

    def _train_steps(self, iterator, count):
        return self._steps(self._closing_step, iterator, count)

    def _open_steps(self, iterator, count):
        return self._steps(self._opening_step, iterator, count)

    def _steps(self, take, iterator, count):
        sums, is_finite = tf.zeros(3), tf.constant(True)
        steps = tf.constant(0)
        while is_finite and steps < count:
            added, is_finite = take(next(iterator))
            sums += added
            steps += 1
        return steps, sums, is_finite

    def _train_windows(self, iterator, count, opening):
        """Takes `count` windows, each of `opening` steps and a closing one.

        Loops all the way: the collectives of a step must not stand in a
        condition.
        """
        sums, is_finite = tf.zeros(3), tf.constant(True)
        steps, windows = tf.constant(0), tf.constant(0)
        while is_finite and windows < count:
            taken, added, is_finite = self._open_steps(iterator, opening)
            steps, sums = steps + taken, sums + added
            closing = tf.cast(is_finite, tf.int32)
            taken, added, closed = self._train_steps(iterator, closing)
            steps, sums = steps + taken, sums + added
            is_finite = is_finite and closed
            windows += 1
        return steps, sums, is_finite

    def _closing_step(self, batch):
        return self._global_step(self._train_step, batch)

    def _opening_step(self, batch):
        return self._global_step(self._open_step, batch)

    def _global_step(self, step, batch):
        local = self.strategy.run(step, (batch,))
        loss, skipped, *sums = tf.unstack(
            self.strategy.reduce("SUM", local, axis=None)
        )
        is_finite = tf.math.is_finite(loss) & (skipped == 0)
        return tf.stack(sums), is_finite

    def _evaluation_steps(self, iterator, count):
        sums = tf.zeros(self._evaluation_sums)
        for _ in tf.range(count):
            local = self.strategy.run(
                self.replica_step.evaluate, (next(iterator),)
            )
            sums += self.strategy.reduce("SUM", local, axis=None)
        return sums


def check_finite(row, step):
    """Checks the numbers of a finished epoch.

    Raises:
        NonFiniteError: One of them is NaN or infinite.
    """
    for name, value in row.items():
        if value is not None and not math.isfinite(value):
            raise NonFiniteError(f"{name} was {value} after step {step}")
