"""From where a run goes on: the newest checkpoint of its folder, or none."""

import tensorflow as tf

from tfwd.training.checkpoint import checkpoint
from tfwd.training.checkpoint import stored as stored_lib
from tfwd.training.config import rules
from tfwd.training.setup import inputs


def checkpoints_of(settings, folder, built, loop, is_chief=True):
    """Returns the `Checkpoints` of a built model in a folder."""
    scale = loop.replica_step.loss_scale
    accumulated = loop.replica_step.accumulated
    return checkpoint.Checkpoints(
        folder,
        settings.run.keep_checkpoints,
        {
            "model": built.model.variables,
            "optimizer": built.optimizer.variables,
            "loss_scale": scale.variables if scale else [],
            # Not there for the other runs, as in earlier versions.
            **({"accumulated": accumulated.variables} if accumulated else {}),
        },
        is_chief,
        {
            "model": settings.model.model,
            "optimizer": settings.optimizer.optimizer,
        },
    )


def stored(settings, folder):
    """The newest checkpoint that can be read, None where there is none to be.

    Raises:
        ValueError: None can be read of a run that has come further.
    """
    if folder.is_complete:
        return None
    place = folder.files.checkpoints
    found = problem = None
    # What is in a folder that is no run's yet may be another's by now.
    if folder.is_begun:
        try:
            found = stored_lib.read_newest(place)
        except OSError as error:
            problem = f"{place}: {error.strerror}"
        except stored_lib.UnreadableError as error:
            problem = error
        results = folder.results()
        if found is None and problem is None and results:
            problem = f"there is none beside {', '.join(results)}"
    if problem is not None:
        rules.refuse(
            "resume",
            f"needs a checkpoint that can be read ({problem}): make one "
            "readable, name another --output_dir, or move this one away to "
            "begin anew. Nothing has been changed",
            settings.run.resume,
        )
    if found is None and settings.run.resume == "must":
        rules.refuse("resume", f"needs a checkpoint in {place}", "must")
    return found


def check_epochs(settings, source, progress):
    """Refuses a strategy whose epochs are not those of the checkpoint."""
    steps = inputs.training_steps(settings, source)
    if progress.step != progress.epoch * steps + progress.step_in_epoch:
        rules.refuse(
            "strategy",
            f"must keep the steps of an epoch, here {steps}; the checkpoint "
            f"has {progress.step - progress.step_in_epoch} in "
            f"{progress.epoch} epochs",
            settings.distribution.strategy,
        )


def restore(found, checkpoints, loop):
    """Gives model, optimizer and loop the state of a checkpoint."""
    checkpoints.restore(found)
    state = loop.replica_step.recurrent_state
    if state:
        state.assign([tf.constant(each) for each in found.extra.values()])
