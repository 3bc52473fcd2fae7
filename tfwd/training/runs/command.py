"""What the binaries share: TensorFlow, loaded late, and lines for errors."""

import contextlib
import logging
import signal
import sys
import warnings

from tfwd import quiet
from tfwd.training.config import usage


def run(main):
    """Ends the program with the exit code of a binary's `main`.

    Ctrl-C, where it is no request to save, ends it as the system does, without
    the traceback of a KeyboardInterrupt.

    Args:
        main: A function of the arguments without the program's name.
    """
    # Not where it is ignored, as under nohup with &.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))


def begin():
    """Lets warnings be lines: they are for whoever trains, of no place here."""
    warnings.formatwarning = lambda message, *_: f"{message}\n"


def load_tensorflow():
    """Imports TensorFlow without its reports, and Keras on top of it.

    Of what TensorFlow's Python modules log, errors are left.

    Raises:
        UsageError: Keras' backend is another one.
    """
    with _hidden("matplotlib"):
        quiet.import_tensorflow()
        import keras
        import tensorflow as tf

    tf.get_logger().setLevel(logging.ERROR)
    name = keras.backend.backend()
    if name != "tensorflow":
        raise usage.UsageError(
            "`KERAS_BACKEND` must be tensorflow for training. "
            f"Received: KERAS_BACKEND={name}"
        )


@contextlib.contextmanager
def _hidden(name):
    """Lets a package not be found, nor be waited for.

    Keras imports matplotlib, if it is there, for galleries of its own.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None
    try:
        yield
    finally:
        del sys.modules[name]


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
