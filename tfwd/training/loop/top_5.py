"""Top-5 accuracy: how often the class is among the five largest logits."""

import tensorflow as tf

_BEST = 5
# With few classes five guesses say little.
_MOST_WITHOUT = 20


def applies(task, num_classes):
    """Whether the models of a task are measured so."""
    return task == "classification" and num_classes > _MOST_WITHOUT


def hits(labels, logits):
    """Returns where the class is among the five largest logits.

    Of equal logits that of the lower class counts as the larger one, as in the
    accuracy, so that a model that gives the same logit to all has no more hits
    than guesses.

    Args:
        labels: Class numbers, an int tensor [n].
        logits: Float [n, classes].

    Returns:
        bool [n].
    """
    best = tf.math.top_k(logits, _BEST).indices
    return tf.reduce_any(best == tf.cast(labels, best.dtype)[:, None], axis=-1)
