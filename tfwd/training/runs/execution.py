"""What `tfwd.train` does with its settings, and the exit code of it."""

import tensorflow as tf

from tfwd.training.config import usage
from tfwd.training.loop import loop
from tfwd.training.runs import command
from tfwd.training.runs import job as job_lib
from tfwd.training.runs import run
from tfwd.training.setup import inputs
from tfwd.training.setup import saved_model

# What TensorFlow raises on the workers that are left.
_WORKER_ERRORS = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


def execute(settings):
    """Trains or evaluates.

    Args:
        settings: `Settings`.

    Returns:
        The exit code, as `tfwd.train.main` tells.
    """
    try:
        with usage.refusals():
            with inputs.named_damage(lambda: inputs.load(settings.data)):
                if settings.run.mode == "eval":
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
        if job.settings.distribution.strategy != "multi_worker":
            raise
        return command.fail(
            f"TensorFlow failed, as it does where a worker has died: {error}"
        )
    except tf.errors.ResourceExhaustedError as error:
        return command.fail(
            f"A smaller --batch_size or --eval_batch_size needs less: {error}"
        )
