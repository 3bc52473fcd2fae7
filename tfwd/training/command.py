"""What the binaries share: their backend, and one line for every error."""

import logging
import sys
import warnings

import keras
import tensorflow as tf

from tfwd.training import usage


def begin():
    """Lets TensorFlow be quiet, and warnings be lines.

    A warning is for whoever trains, not about a place in this library.
    """
    tf.get_logger().setLevel(logging.ERROR)
    warnings.formatwarning = lambda message, *_: f"{message}\n"


def check_backend():
    """Raises `UsageError` unless Keras' backend is TensorFlow."""
    name = keras.backend.backend()
    if name != "tensorflow":
        raise usage.UsageError(
            "`KERAS_BACKEND` must be tensorflow for training. "
            f"Received: KERAS_BACKEND={name}"
        )


def refuse(error):
    """Prints an error of the input as one line; returns the exit code 2."""
    print(_one_line(error), file=sys.stderr)
    return 2


def fail(error):
    """Prints an error of disk or workers; returns the exit code 1."""
    print(f"{_one_line(error)}; checkpoints are as they were", file=sys.stderr)
    return 1


def _one_line(error):
    return " ".join(str(error).split())
