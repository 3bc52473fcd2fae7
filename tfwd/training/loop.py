"""Our own loop: many steps per call, equal on one replica and on many.

The loss of a step is the mean over the *global* batch: every example carries
the weight 1 / (size of the global batch), each replica sums its own weighted
losses, and the optimizer sums the gradients over replicas. Nothing is averaged
per replica, so uneven last batches weigh no more than they should.
"""

import math
import time

import keras
import tensorflow as tf

from tfwd.training import curvature


class NonFiniteLossError(ValueError):
    """The loss or the weights stopped being numbers."""


class Loop:
    """Trains and evaluates one model under one strategy.

    Args:
        strategy: The `tf.distribute.Strategy` that made model and optimizer.
        model: Maps images to logits, [batch, classes].
        optimizer: A built optimizer; `None` for evaluation alone.
        steps_per_loop: Steps per call of the compiled function.
    """

    def __init__(self, strategy, model, optimizer=None, steps_per_loop=10):
        self.strategy = strategy
        self.model = model
        self.optimizer = optimizer
        self.steps_per_loop = steps_per_loop
        self.step = 0
        self.curvature = curvature.of(strategy, optimizer)
        self._train = tf.function(self._train_steps)
        self._train_one = tf.function(self._global_step)
        self._evaluate = tf.function(self._evaluation_steps)

    def train(self, iterator, num_steps, on_progress=lambda done, means: None):
        """Runs `num_steps` training steps.

        Args:
            iterator: Over distributed (images, labels, weights) batches.
            num_steps: How many batches to take.
            on_progress: Called after each compiled call with the steps done
                and {"train_loss": ..., "train_accuracy": ...} so far.

        Returns:
            train_loss and train_accuracy, averaged over the examples while
            training, and examples_per_second without the calls that traced
            a program (`None` if there was no other).

        Raises:
            NonFiniteLossError: A step's loss was NaN or infinite.
        """
        totals = _Totals()
        timed_examples, timed_seconds = 0.0, 0.0
        done = 0
        while done < num_steps:
            limit = min(self.steps_per_loop, num_steps - done)
            start, traces = time.perf_counter(), self._traces()
            count, sums, bad = self._advance(iterator, limit)
            before, seen = totals.examples, totals.add(sums)
            if self._traces() == traces:
                timed_seconds += time.perf_counter() - start
                timed_examples += seen - before
            if bad >= 0:
                raise NonFiniteLossError(
                    f"The training loss was not finite in step "
                    f"{self.step + int(bad) + 1}"
                )
            done += count
            self.step += count
            on_progress(done, totals.means("train"))
        self._average_replica_state()
        speed = timed_examples / timed_seconds if timed_seconds else None
        return {**totals.means("train"), "examples_per_second": speed}

    def evaluate(self, batches, num_steps, name):
        """Loss and accuracy in inference mode over (images, labels) batches.

        Args:
            batches: A distributed dataset.
            num_steps: The number of its batches.
            name: Prefix of the keys returned.

        Returns:
            {"<name>_loss": ..., "<name>_accuracy": ...}, means over examples.
        """
        totals = _Totals()
        iterator = iter(batches)
        done = 0
        while done < num_steps:
            count = min(self.steps_per_loop, num_steps - done)
            totals.add(self._evaluate(iterator, tf.constant(count)))
            done += count
        return totals.means(name)

    def _average_replica_state(self):
        """Makes moving averages equal on all replicas: the mean of theirs.

        Keras (3.15) creates them without aggregation, so that each replica
        keeps those of its own examples, evaluates with them, and only the
        first one's would be saved.
        """
        for variable in self.model.non_trainable_variables:
            local = self.strategy.experimental_local_results(variable.value)
            if len(local) > 1 and local[0].dtype.is_floating:
                variable.assign(tf.add_n(local) / len(local))

    def _advance(self, iterator, limit):
        """Up to `limit` plain steps, or one step with its curvature work.

        Returns:
            Steps taken, the sums over their examples, and the first of them,
            from 0, whose loss was not finite (-1 if none).
        """
        count = self.curvature.plain_steps(self.step, limit)
        if count:
            return count, *self._train(iterator, tf.constant(count))
        batch = next(iterator)
        self.curvature.before(self.step, batch)
        sums, is_bad = self._train_one(batch)
        self.curvature.after(self.step, batch)
        return 1, sums, 0 if is_bad else -1

    def _traces(self):
        return self.curvature.kinds_done + sum(
            each.experimental_get_tracing_count()
            for each in (self._train, self._train_one)
        )

    def _train_steps(self, iterator, count):
        sums = tf.zeros(3)
        bad = tf.constant(-1)
        for step in tf.range(count):
            added, is_bad = self._global_step(next(iterator))
            bad = tf.where(is_bad & (bad < 0), step, bad)
            sums += added
        return sums, bad

    def _global_step(self, batch):
        local = self.strategy.run(self._train_step, (batch,))
        totals = self.strategy.reduce("SUM", local, axis=None)
        return totals[1:], ~tf.math.is_finite(totals[0])

    def _train_step(self, batch):
        images, labels, weights = batch
        with self.curvature.backward():
            with tf.GradientTape() as tape:
                logits = self.model(images, training=True)
                losses = _cross_entropy(labels, logits)
                loss = tf.reduce_sum(weights * losses)
                if self.model.losses:
                    penalty = tf.add_n(self.model.losses)
                    loss += penalty / self.strategy.num_replicas_in_sync
                scaled = self.optimizer.scale_loss(loss)
            variables = self.model.trainable_variables
            gradients = tape.gradient(scaled, variables)
            self.optimizer.apply(gradients, variables)
        return tf.concat([[loss], _sums(labels, logits, losses)], 0)

    def _evaluation_steps(self, iterator, count):
        sums = tf.zeros(3)
        for _ in tf.range(count):
            local = self.strategy.run(self._evaluation_step, (next(iterator),))
            sums += self.strategy.reduce("SUM", local, axis=None)
        return sums

    def _evaluation_step(self, batch):
        images, labels = batch
        logits = self.model(images, training=False)
        return _sums(labels, logits, _cross_entropy(labels, logits))


class _Totals:
    """Sums over examples, kept as Python floats (64 bits)."""

    def __init__(self):
        self.loss = self.correct = self.examples = 0.0

    def add(self, sums):
        loss, correct, examples = sums.numpy()
        self.loss += float(loss)
        self.correct += float(correct)
        self.examples += float(examples)
        return self.examples

    def means(self, name):
        return {
            f"{name}_loss": self.loss / self.examples,
            f"{name}_accuracy": self.correct / self.examples,
        }


def check_finite(row, step):
    """Checks the numbers of a finished epoch.

    Raises:
        NonFiniteLossError: One of them is NaN or infinite.
    """
    for name, value in row.items():
        if value is not None and not math.isfinite(value):
            raise NonFiniteLossError(f"{name} was {value} after step {step}")


def _cross_entropy(labels, logits):
    return keras.ops.sparse_categorical_crossentropy(
        labels, tf.cast(logits, tf.float32), from_logits=True
    )


def _sums(labels, logits, losses):
    """[sum of losses, correct answers, examples], float32."""
    answers = tf.argmax(logits, axis=-1, output_type=labels.dtype)
    return tf.stack(
        [
            tf.reduce_sum(losses),
            tf.reduce_sum(tf.cast(answers == labels, tf.float32)),
            tf.cast(tf.size(labels), tf.float32),
        ]
    )
