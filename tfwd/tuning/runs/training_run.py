"""A run of a search: the training binary's job, and what became of it."""

import contextlib
import gc
import pathlib
import traceback

import keras
import tensorflow as tf

from tfwd.training.config import usage
from tfwd.training.loop import loop
from tfwd.training.runs import job as job_lib
from tfwd.training.runs import lock
from tfwd.training.runs import logs
from tfwd.training.runs import run as run_lib
from tfwd.training.runs import run_files
from tfwd.training.runs import signals
from tfwd.training.setup import inputs
from tfwd.tuning import objective as objective_lib
from tfwd.tuning.engine import outcome
from tfwd.tuning.engine import stopped
from tfwd.tuning.runs import graphs


class BusyError(Exception):
    """Another process trains in the folder of the run."""


def train(settings, source=None, splits=None, goes_on=lambda epochs: True):
    """Trains a run, or goes on with it, and tells how it ended.

    What the binary would print goes to OUTPUT_DIR.log.

    Args:
        settings: `Settings` with an `output_dir`.
        source: The data set; by default it is loaded.
        splits: Those that the run is evaluated on; by default all.
        goes_on: As of `tfwd.training.runs.run.train`.

    Returns:
        (status, reason): "completed" and no reason, also where `goes_on` ended
        it; "diverged" or "failed" and one line.

    Raises:
        BusyError: Another process trains in the folder.
        Stopped: A signal asked the process to end; the run has a checkpoint.
        OSError: A disk fails, as it would for all other runs.
    """
    folder = pathlib.Path(settings.run.output_dir)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Layers are numbered in each process, and so named as in the binary's.
    keras.backend.clear_session()
    # Or the run before, which is full of cycles, stays for many more.
    gc.collect()
    stop = signals.StopRequest()
    with (
        _stopping(stop),
        graphs.released(),
        folder.with_name(f"{folder.name}.log").open("a") as log,
    ):
        try:
            with (
                contextlib.redirect_stdout(log),
                contextlib.redirect_stderr(log),
                usage.refusals(),
                inputs.named_damage(lambda: inputs.load(settings.data)),
            ):
                job = job_lib.prepare(settings, source=source, splits=splits)
                run_lib.train(job, goes_on, stop)
        except loop.NonFiniteError as error:
            return outcome.DIVERGED, _line(error.__cause__ or error)
        except usage.UsageError as error:
            if _is_busy(error):
                raise BusyError(str(error)) from error
            return outcome.FAILED, _line(error)
        except tf.errors.ResourceExhaustedError as error:
            return outcome.FAILED, _line(f"Out of memory: {error.message}")
        except Exception:
            # The outcome has room for a line alone.
            traceback.print_exc(file=log)
            raise
    return outcome.COMPLETED, ""


@contextlib.contextmanager
def _stopping(stop):
    """Ends the search after a run that was asked to stop.

    Also one that came to its end or failed before it could: the signal was
    meant for the whole process.
    """
    try:
        yield
    finally:
        if stop.number is not None:
            raise stopped.Stopped(stop.exit_code)


def outcome_of(folder, ended, objective, select_on):
    """Returns the `outcome.Outcome` of a run that `train` ended.

    Args:
        folder: The `pathlib.Path` of the run.
        ended: What `train` returned.
        objective: The `objective.Objective`.
        select_on: The epoch whose objective counts, "final" or "best".
    """
    status, reason = ended
    rows, value, best_epoch = [], None, None
    metrics = run_files.Files(folder).metrics
    if metrics.exists():
        rows = logs.read(metrics)
    if status == outcome.COMPLETED:
        value, _ = objective_lib.value(rows, objective, select_on)
    elif status == outcome.PRUNED and rows:
        value, _ = objective_lib.value(rows, objective)
    if rows:
        _, best_epoch = objective_lib.value(rows, objective, "best")
    return outcome.Outcome(
        status=status,
        objective=value,
        last_epoch=len(rows),
        best_epoch=best_epoch,
        seconds=rows[-1]["elapsed_seconds"] if rows else 0.0,
        reason=reason,
    )


def _line(text):
    return " ".join(str(text).split())


def _is_busy(error):
    while error is not None:
        if isinstance(error, lock.HeldError):
            return True
        error = error.__cause__ or error.__context__
    return False
