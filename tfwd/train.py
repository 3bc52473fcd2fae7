"""Trains or evaluates a model: `python -m tfwd.train --help`."""

import sys

import tensorflow as tf

from tfwd.training import command
from tfwd.training import flagfile
from tfwd.training import inputs
from tfwd.training import job as job_lib
from tfwd.training import loop
from tfwd.training import run
from tfwd.training import saved_model
from tfwd.training import usage

# What TensorFlow raises on the workers that are left.
_WORKER_ERRORS = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


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
        with usage.refusals():
            settings = flagfile.parse(arguments)
            command.check_backend()
            with inputs.named_damage(lambda: inputs.load(settings)):
                if settings.mode == "eval":
                    run.evaluate(*saved_model.load(settings))
                    return 0
                return _trained(job_lib.prepare(settings))
    except (usage.UsageError, loop.NonFiniteError) as error:
        return command.refuse(error)


def _trained(job):
    try:
        return run.train(job)
    except OSError as error:
        return command.fail(error)
    except _WORKER_ERRORS as error:
        if job.settings.strategy != "multi_worker":
            raise
        return command.fail(
            f"TensorFlow failed, as it does where a worker has died: {error}"
        )
    except tf.errors.ResourceExhaustedError as error:
        return command.fail(
            f"A smaller --batch_size or --eval_batch_size needs less: {error}"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
