"""What the rows of a run are written to, opened where the run stands."""

import contextlib
import dataclasses

from tfwd.diagnostics.backend import tensorflow_summaries
from tfwd.training.config import columns
from tfwd.training.runs import logs


@dataclasses.dataclass(frozen=True)
class Writers:
    """Each has `append(row)`; a worker that is not the chief has none.

    Attributes:
        epochs: What gets a row per epoch.
        steps: What gets one per `--log_every` steps.
    """

    epochs: tuple = ()
    steps: tuple = ()


@contextlib.contextmanager
def opened(job):
    """The `Writers` of a job; the file of its diagnostics is closed, too.

    Whatever is there of later steps than the job's is dropped, or void.

    Args:
        job: A `Job`.
    """
    with contextlib.ExitStack() as stack:
        writers = Writers()
        if job.diagnostics is not None:
            stack.callback(job.diagnostics.close)
        if job.is_chief:
            writers = Writers(
                tuple(map(stack.enter_context, _of_epochs(job))),
                tuple(map(stack.enter_context, _of_steps(job))),
            )
        yield writers


def _of_epochs(job):
    progress = job.progress
    file = logs.MetricsFile(
        job.folder.files.metrics,
        columns.of_epochs(job.task, job.counts_top_5),
        progress.rows,
        progress.step,
    )
    # Fewer where the file was damaged.
    progress.rows = file.rows
    yield contextlib.closing(file)
    yield from _of_board(job, "metrics", _first_step(progress))


def _of_steps(job):
    progress = job.progress
    if not job.settings.run.log_every:
        return
    file = logs.MetricsFile(
        job.folder.files.steps,
        columns.of_steps(job.task),
        progress.step_rows,
        progress.step,
    )
    progress.step_rows = file.rows
    yield contextlib.closing(file)
    yield from _of_board(job, "steps", progress.step + 1)


def _of_board(job, name, first_step):
    if job.settings.run.tensorboard:
        folder = job.folder.files.tensorboard / name
        board = tensorflow_summaries.Summaries(folder, first_step)
        yield contextlib.closing(board)


def _first_step(progress):
    """The first step whose row of an epoch is yet to be written."""
    is_written = progress.step and not progress.step_in_epoch
    return progress.step + 1 if is_written else progress.step
