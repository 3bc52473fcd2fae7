"""What one replica does in one step of training or evaluation.

The loss of a step is the mean over the *global* batch: every prediction carries
the weight 1 / (predictions in the global batch), each replica sums its own
weighted losses, and the optimizer sums the gradients over replicas. Nothing is
averaged per replica, so uneven last batches weigh no more than they should.
"""

import contextlib
import typing

import keras
import tensorflow as tf

from tfwd.models import dropout
from tfwd.training.loop import label_smoothing
from tfwd.training.loop import top_5


class Forward(typing.NamedTuple):
    """What a forward pass gives: the loss to minimize, and for reports."""

    loss: tf.Tensor
    sums: tf.Tensor
    logits: tf.Tensor
    states: list


class Step:
    """A model's steps in replica context.

    Args:
        model: Maps images, [batch, ...], or [tokens, *states] to logits, or
            to [logits, *states].
        optimizer: A built optimizer of tfwd; `None` for evaluation alone.
        finish: A function of (`Batch`, whether it is a training step) that
            does what the input pipeline left to the device.
        curvature: `kfac_work.Work` or `NoWork`.
        loss_scale: A `DynamicLossScale`, or `None`.
        recurrent_state: A `recurrent_state.RecurrentState`, or `None` for a
            model without states.
        accumulated: An `accumulation.Accumulated` where several steps make
            one update, or `None`.
        smoothing: Of the labels in training; what is reported is without.
        counts_top_5: Whether evaluation counts the answers among the best
            five.
    """

    def __init__(
        self,
        model,
        optimizer=None,
        *,
        finish=lambda batch, training: batch,
        curvature=None,
        loss_scale=None,
        recurrent_state=None,
        accumulated=None,
        smoothing=0.0,
        counts_top_5=False,
    ):
        self.model = model
        self.optimizer = optimizer
        self.finish = finish
        self.curvature = curvature
        self.loss_scale = loss_scale
        self.recurrent_state = recurrent_state
        self.accumulated = accumulated
        self.smoothing = smoothing
        self.counts_top_5 = counts_top_5

    def train(self, batch):
        """Makes a training step, and the update of its window.

        Returns:
            float32 [5]: the loss; 1 if the optimizer skipped the update
            although no loss scale was too large; sums of losses, correct
            answers and predictions.
        """
        variables = self.model.trainable_variables
        with self._backward():
            forward, gradients = self._differentiated(batch)
            if self.accumulated:
                gradients = self.accumulated.closed(
                    [tf.convert_to_tensor(each) for each in gradients],
                    _over_replicas(forward.sums[2]),
                    _replicas(),
                )
            before = self._skipped_steps()
            self.optimizer.apply(gradients, variables)
            skipped = self._skipped_steps() > before
        if self.loss_scale:
            skipped = self.loss_scale.update(skipped)
        return _report(forward, skipped)

    def accumulate(self, batch):
        """Makes a training step that leaves the update to a later one.

        Returns:
            As `train`; nothing is skipped.
        """
        forward, gradients = self._differentiated(batch)
        self.accumulated.add(
            self.optimizer.global_gradients(
                gradients, self.model.trainable_variables
            ),
            _over_replicas(forward.sums[2]),
        )
        return _report(forward, tf.constant(0.0))

    def _differentiated(self, batch):
        """A `Forward` and the gradients, without the loss scale found."""
        batch = self.finish(batch, True)
        with tf.GradientTape() as tape, dropout.keyed(batch.keys):
            forward = self.forward(batch)
            scaled = self.optimizer.scale_loss(forward.loss)
            if self.loss_scale:
                scaled = self.loss_scale.scaled(scaled)
        gradients = tape.gradient(scaled, self.model.trainable_variables)
        if self.loss_scale:
            gradients = self.loss_scale.unscaled(gradients)
        if self.recurrent_state:
            # Those before a loss that is no number show where it came from.
            self.recurrent_state.update(
                forward.states, tf.math.is_finite(forward.loss)
            )
        return forward, gradients

    def _backward(self):
        # A sum of gradients is preconditioned as a whole.
        if self.accumulated:
            return contextlib.nullcontext()
        return self.curvature.backward()

    def evaluate(self, batch):
        """Returns sums of losses, correct answers and predictions, float32.

        With `counts_top_5` a fourth number, that of answers among the best
        five.
        """
        batch = self.finish(batch, False)
        forward = self.forward(batch, training=False)
        if self.recurrent_state:
            self.recurrent_state.update(forward.states)
        if not self.counts_top_5:
            return forward.sums
        hits = top_5.hits(batch.labels, forward.logits) & (batch.weights > 0)
        hits = tf.reduce_sum(tf.cast(hits, tf.float32))
        return tf.concat([forward.sums, hits[None]], 0)

    def forward(self, batch, training=True, states=None):
        """Runs the model and its loss on a finished batch.

        Args:
            batch: A `Batch`.
            training: Whether it is a training step.
            states: The recurrent states before it; None: those carried.

        Returns:
            A `Forward`; the penalties of layers and the smoothing of labels
            are part of the loss alone.
        """
        inputs = self.inputs(batch, states)
        outputs = self.model(inputs, training=training)
        logits, *states = outputs if self.recurrent_state else [outputs]
        exact = tf.cast(logits, tf.float32)
        losses = keras.ops.sparse_categorical_crossentropy(
            batch.labels, exact, from_logits=True
        )
        minimized = losses
        if training:
            minimized = label_smoothing.smoothed(losses, exact, self.smoothing)
        # A select, so that padding, which may be anything, adds nothing.
        counts = batch.weights > 0
        losses, minimized = (
            tf.where(counts, each, 0.0) for each in (losses, minimized)
        )
        loss = tf.reduce_sum(batch.weights * minimized)
        if self.model.losses:
            strategy = tf.distribute.get_strategy()
            penalty = tf.add_n(self.model.losses)
            loss += penalty / strategy.num_replicas_in_sync
        answers = tf.argmax(logits, -1, output_type=batch.labels.dtype)
        correct = counts & (answers == batch.labels)
        sums = [
            tf.reduce_sum(tf.cast(each, tf.float32))
            for each in (losses, correct, counts)
        ]
        return Forward(loss, tf.stack(sums), logits, states)

    def _skipped_steps(self):
        return tf.convert_to_tensor(self.optimizer.skipped_steps)

    def inputs(self, batch, states=None):
        """Returns what the model takes; arguments as in `forward`."""
        if not self.recurrent_state:
            return batch.inputs
        if states is None:
            states = self.recurrent_state.values()
        return [batch.inputs, *states]


def _report(forward, skipped):
    head = tf.stack([forward.loss, tf.cast(skipped, tf.float32)])
    return tf.concat([head, forward.sums], 0)


def _replicas():
    return tf.distribute.get_strategy().num_replicas_in_sync


def _over_replicas(value):
    """The sum over all replicas, in replica context."""
    if _replicas() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce("SUM", value)
