"""One update from several steps, whose batches together are its batch.

With b_1, ..., b_k the batches of a window, n_i the predictions of b_i and g_i
the gradient of its mean loss, the update is that of

    g = (n_1 g_1 + ... + n_k g_k) / (n_1 + ... + n_k),

the gradient of the mean loss over all predictions of the window. A window ends
with its epoch: the last one may be shorter. So an epoch of s steps has
ceil(s / length) updates, as one with batches of `length` times the size has.
"""

import dataclasses
import math

import keras
import tensorflow as tf

# Why it is still not the batch of a window in all.
DIFFERENCES = (
    "batch normalization uses the statistics of each step's batch, and its "
    "moving averages move in every step",
    "K-FAC's factors average over the steps of an update, a partial batch as "
    "much as a full one, and its cold start over the batches of the steps",
    "a loss scale that is found while training changes with the updates",
    "the state of a text is carried from step to step: an update spans as many "
    "segments as steps",
)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a step stands in its window.

    Attributes:
        update: The updates made before that of the window.
        part: Its number in the window, from 0.
        size: Steps of the window.
    """

    update: int
    part: int
    size: int

    @property
    def is_last(self):
        """Whether the update is made in this step."""
        return self.part == self.size - 1


@dataclasses.dataclass(frozen=True)
class Windows:
    """The windows of a run.

    Attributes:
        steps_per_epoch: Steps of an epoch.
        length: Steps of a window, but for the last one of an epoch.
    """

    steps_per_epoch: int
    length: int = 1

    @property
    def per_epoch(self):
        """Updates of an epoch."""
        return math.ceil(self.steps_per_epoch / self.length)

    def at(self, step):
        """Returns the `Place` of the step after `step` others."""
        epoch, step = divmod(step, self.steps_per_epoch)
        window, part = divmod(step, self.length)
        size = min(self.length, self.steps_per_epoch - window * self.length)
        return Place(epoch * self.per_epoch + window, part, size)


class Accumulated:
    """What a window has summed up; every replica holds the sum over all.

    Made in the scope of the strategy.

    Args:
        variables: The trainable variables.

    Attributes:
        variables: The sums of n_i g_i, and that of n_i.
    """

    def __init__(self, variables):
        self._sums = [
            keras.Variable(
                tf.zeros(variable.shape, variable.dtype),
                trainable=False,
                name="accumulated_gradient",
            )
            for variable in variables
        ]
        self._predictions = keras.Variable(
            0.0, trainable=False, dtype="float32", name="predictions"
        )
        self.variables = [*self._sums, self._predictions]

    def add(self, gradients, predictions):
        """Adds a step that makes no update.

        Args:
            gradients: Dense g_i, one per variable, the sums over all replicas.
            predictions: n_i, of all replicas.
        """
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(gradient * tf.cast(predictions, gradient.dtype))
        self._predictions.assign_add(predictions)

    def closed(self, gradients, predictions, replicas):
        """Ends the window with the step that makes its update.

        Args:
            gradients: Dense g_k of this replica, of which all replicas' are
                still to be summed.
            predictions: n_k, of all replicas.
            replicas: Their number.

        Returns:
            g, of which all replicas' are still to be summed.
        """
        count = predictions + tf.convert_to_tensor(self._predictions)
        means = []
        for total, gradient in zip(self._sums, gradients, strict=True):
            dtype = gradient.dtype
            share = tf.convert_to_tensor(total) / replicas
            means.append(
                (share + gradient * tf.cast(predictions, dtype))
                / tf.cast(count, dtype)
            )
        for variable in self.variables:
            variable.assign(tf.zeros(variable.shape, variable.dtype))
        return means


def description(windows, batch_size):
    """What run.json says of it; None where every step makes an update.

    Args:
        windows: `Windows`.
        batch_size: Examples of a step.
    """
    if windows.length == 1:
        return None
    return {
        "steps_per_update": windows.length,
        "examples_per_update": windows.length * batch_size,
        "updates_per_epoch": windows.per_epoch,
        "differs_from_such_a_batch": list(DIFFERENCES),
    }
