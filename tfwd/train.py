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
from tfwd.training import saved_model


def main(arguments):
    """Runs the binary.

    Args:
        arguments: The command line without the program's name.

    Returns:
        Exit code: 0; 2 after one line on stderr for bad input and for a loss
        that is no longer a number; 1 for a disk or a worker that fails; 128 +
        the number of the signal that stopped it.
    """
    tf.get_logger().setLevel(logging.ERROR)
    # A warning is a line for whoever trains, not a place in this library.
    warnings.formatwarning = lambda message, *_: f"{message}\n"
    try:
        settings = flagfile.parse(arguments)
        _check_backend()
        if settings.mode == "eval":
            loaded = saved_model.load(settings)
        else:
            job = job_lib.prepare(settings)
    except ValueError as error:
        return _refuse(error)
    if settings.mode == "eval":
        run.evaluate(*loaded)
        return 0
    try:
        return run.train(job)
    except loop.NonFiniteError as error:
        return _refuse(error)
    except OSError as error:
        return _fail(error)
    except tf.errors.OpError as error:
        return _fail(
            f"TensorFlow failed, as it does where a worker has died: {error}"
        )


def _check_backend():
    name = keras.backend.backend()
    if name != "tensorflow":
        raise ValueError(
            "`KERAS_BACKEND` must be tensorflow for training. "
            f"Received: KERAS_BACKEND={name}"
        )


def _refuse(error):
    print(_one_line(error), file=sys.stderr)
    return 2


def _fail(error):
    print(f"{_one_line(error)}; checkpoints are as they were", file=sys.stderr)
    return 1


def _one_line(error):
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
