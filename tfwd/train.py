"""Trains or evaluates a model: `python -m tfwd.train --help`."""

import sys

import tensorflow as tf

from tfwd.training import command
from tfwd.training import flagfile
from tfwd.training import inputs
from tfwd.training import job as job_lib
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
    command.begin()
    try:
        settings = flagfile.parse(arguments)
        command.check_backend()
        if settings.mode == "eval":
            loaded = saved_model.load(settings)
        else:
            job = job_lib.prepare(settings)
    except ValueError as error:
        return command.refuse(error)
    try:
        with inputs.named_damage(lambda: inputs.load(settings)):
            if settings.mode == "eval":
                run.evaluate(*loaded)
                return 0
            return run.train(job)
    except ValueError as error:
        return command.refuse(error)
    except OSError as error:
        return command.fail(error)
    except tf.errors.OpError as error:
        cause = ""
        if settings.strategy == "multi_worker":
            cause = ", as it does where a worker has died"
        return command.fail(f"TensorFlow failed{cause}: {error}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
