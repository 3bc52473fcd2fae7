"""Trains or evaluates a model: `python -m tfwd.train --help`."""

import logging
import sys
import warnings

import keras
import tensorflow as tf

from tfwd.training import flagfile
from tfwd.training import job as job_lib
from tfwd.training import loop
from tfwd.training import run


def main(arguments):
    """Runs the binary.

    Args:
        arguments: The command line without the program's name.

    Returns:
        Exit code: 0, or 2 after one line on stderr for bad input and for a
        loss that is no longer a number.
    """
    tf.get_logger().setLevel(logging.ERROR)
    # A warning is a line for whoever trains, not a place in this library.
    warnings.formatwarning = lambda message, *_: f"{message}\n"
    try:
        settings = flagfile.parse(arguments)
        _check_backend()
        if settings.mode == "eval":
            loaded = job_lib.load_for_evaluation(settings)
        else:
            job = job_lib.prepare(settings)
    except ValueError as error:
        return _refuse(error)
    if settings.mode == "eval":
        run.evaluate(*loaded)
        return 0
    try:
        run.train(job)
    except loop.NonFiniteLossError as error:
        return _refuse(error)
    return 0


def _check_backend():
    name = keras.backend.backend()
    if name != "tensorflow":
        raise ValueError(
            "`KERAS_BACKEND` must be tensorflow for training. "
            f"Received: KERAS_BACKEND={name}"
        )


def _refuse(error):
    print(" ".join(str(error).split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
