"""A run from Python, `tfwd.training.run`, and what it returns."""

import collections.abc
import dataclasses
import pathlib

import keras

from tfwd.training.config import rules
from tfwd.training.config import settings as settings_lib
from tfwd.training.runs import job as job_lib
from tfwd.training.runs import logs
from tfwd.training.runs import run as run_lib
from tfwd.training.setup import inputs


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run has come to.

    Attributes:
        folder: Its `pathlib.Path`, with final.keras if it is complete.
        rows: Those of its metrics.csv, {column: number or None}.
        exit_code: 0, or 128 + the number of the signal that has stopped it; the
            same call goes on from there.
    """

    folder: pathlib.Path
    rows: list
    exit_code: int


def run(
    settings: settings_lib.Settings,
    callbacks: collections.abc.Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Trains as the binary `tfwd.train` does, with Keras callbacks as in `fit`.

    Callbacks see the epochs from 0, with logs that have the columns of
    metrics.csv and Keras' names of them, such as `loss` and `val_accuracy`.
    Their batch hooks are called for every `steps_per_loop` steps, as by Keras
    under `steps_per_execution`. One that sets `model.stop_training` ends the
    run, which is complete then. No checkpoint holds what a callback keeps for
    itself: a run that is gone on with gives them the remaining epochs. Of
    several workers each has callbacks of its own.

    Args:
        settings: `Settings` of mode "train".
        callbacks: A list of `keras.callbacks.Callback`.

    Returns:
        A `Result`.

    Raises:
        ValueError: Something does not fit; one line that names the flag or the
            argument. Nothing has been written then.
        NonFiniteError: A loss was NaN or infinite, for good. A ValueError too.
        OSError: A file could not be written; checkpoints are as they were.

    Example:
    >>> settings = tfwd.training.Settings(epochs=2, output_dir="digits")
    >>> stopping = keras.callbacks.EarlyStopping("val_loss", patience=5)
    >>> result = tfwd.training.run(settings, callbacks=[stopping])
    """
    if settings.run.mode != "train":
        rules.refuse("mode", "must be train", settings.run.mode)
    _check(callbacks)
    with inputs.named_damage(lambda: inputs.load(settings.data)):
        job = job_lib.prepare(settings, callbacks=callbacks)
        code = run_lib.train(job)
    path = job.folder.files.metrics
    # The chief's alone, on a disk that others need not see.
    rows = logs.read(path) if path.exists() else []
    return Result(job.folder.path, rows, code)


def _check(callbacks):
    is_list = isinstance(callbacks, (list, tuple))
    kind = keras.callbacks.Callback
    if not is_list or not all(isinstance(each, kind) for each in callbacks):
        raise ValueError(
            "`callbacks` must be a list of keras.callbacks.Callback. "
            f"Received: callbacks={callbacks!r}"
        )
