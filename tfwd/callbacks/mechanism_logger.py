"""A Keras callback that measures the three mechanisms while a model trains."""

import collections.abc
import functools
import os
import time
import typing

import keras
from keras import ops

from tfwd import arguments
from tfwd import durable
from tfwd import extras
from tfwd import types
from tfwd.callbacks import chief_process
from tfwd.diagnostics import kronecker_factors
from tfwd.diagnostics import mechanisms
from tfwd.diagnostics import streaming
from tfwd.diagnostics import table
from tfwd.optimizers import wrappers

CSV = "diagnostics.csv"
PICTURE = "mechanisms.png"


class MechanismLogger(keras.callbacks.Callback):
    """Writes diagnostics.csv and mechanisms.png while `fit` runs.

    Measures before the first step, as epoch 0, and after every epoch that
    `every` divides, always on the same examples; what is measured is told by
    `tfwd.diagnostics.Mechanisms`. The training is the same, bit for bit, with
    and without it. A `fit` with `initial_epoch` goes on with the file that is
    there; one from epoch 0 begins a new file.

    Args:
        path: The folder of the files, made if need be.
        data: Inputs, (inputs, labels), or batches of them: a list or a
            `tf.data.Dataset`. Not augmented.
        every: Epochs between measurements.
        diagnostics: Names out of `mechanisms.NAMES`.
        examples: How many of the first examples of `data` are used; None
            leaves `data` as it is, a distributed dataset for example, to be
            gone through at each measurement.
        projections: As in `Mechanisms`.
        loss: As in `Mechanisms`; the compiled one by default.
        mode: As in `Mechanisms`.
        tensorboard: None, or a folder for TensorBoard scalars; one of its own,
            as TensorBoard reads one writer of a folder.
        picture: Whether to draw mechanisms.png at the end, with the extra
            `plot`.
        seed: Of what is sampled.
        progress: None, or an object whose `step` is the number of steps so
            far, in place of the optimizer's iterations. If that is not 0 when
            training starts, `fit`'s epoch is one that has begun already: the
            file is gone on with, and what comes next is the end of the epoch.

    Attributes:
        path: The folder of the files.
        tensorboard: That of the scalars. Both may be set before training.
        rows: The rows of diagnostics.csv so far.
        seconds: What the measurements of the last `fit` took, with their
            compilation, files and plot.

    Raises:
        ImportError: If a plot is to be drawn without the extra `plot`.
        ValueError: If an argument breaks its rule; when training starts, if
            the model cannot have a diagnostic.

    Example:
    >>> logger = tfwd.callbacks.MechanismLogger("run", (x, y))
    >>> model.compile(optimizer=tfwd.SGDS(0.1, 5e-4), loss="mse")
    >>> history = model.fit(x, y, epochs=2, callbacks=[logger], verbose=0)

    References:
        Zhang et al. 2019, Figures 3 to 7.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        data: types.Data,
        every: int = 1,
        diagnostics: collections.abc.Collection[str] = mechanisms.DEFAULT,
        *,
        examples: int | None = 1000,
        projections: int | None = 1,
        loss: types.Loss | None = None,
        mode: types.Mode = "training",
        tensorboard: str | os.PathLike | None = None,
        picture: bool = True,
        seed: int = 0,
        progress: typing.Any = None,
    ):
        super().__init__()
        every = arguments.check_integer("every", every, 1)
        if examples is not None:
            examples = arguments.check_integer("examples", examples, 1)
        if not (progress is None or hasattr(progress, "step")):
            raise ValueError(
                "`progress` must be None or have a `step`. "
                f"Received: progress={arguments.shown(progress)}"
            )
        mechanisms.check_names("diagnostics", diagnostics)
        mechanisms.check_projections(projections)
        arguments.check_choice("mode", mode, kronecker_factors.MODES)
        seed = arguments.check_integer("seed", seed, 0)
        picture = arguments.check_boolean("picture", picture)
        if picture:
            extras.require("`picture=True`", "plot")
        if tensorboard is not None:
            arguments.check_path("tensorboard", tensorboard)
        if tensorboard is not None and keras.backend.backend() != "tensorflow":
            raise ValueError(
                "`tensorboard` must be None but on the TensorFlow backend. "
                f"Received: tensorboard={tensorboard!r}"
            )
        self.seconds = 0.0
        self.path = arguments.check_path("path", path)
        self._batches = data
        if examples is not None:
            self._batches = _first_batches(data, examples)
        self._every = every
        self._make = lambda model: mechanisms.Mechanisms(
            model,
            diagnostics,
            loss=loss,
            projections=projections,
            mode=mode,
            seed=seed,
        )
        self.tensorboard = tensorboard
        self._picture = picture
        self._progress = progress
        self._has_begun = False
        self._file = self._mechanisms = self._summaries = None

    @property
    def rows(self):
        """The rows of diagnostics.csv so far."""
        return [] if self._file is None else self._file.rows

    def on_train_begin(self, logs=None):
        """Checks that the model can have the diagnostics."""
        self._start = time.perf_counter()
        self.seconds = 0.0
        self._has_begun = False
        self._file = None
        self._mechanisms = self._make(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        """Measures before the first epoch, unless the file has it already."""
        if self._has_begun:
            return
        self._has_begun = True
        is_resumed = self._progress is not None and self._progress.step > 0
        if chief_process.is_chief(self.model):
            self._open(epoch if epoch or is_resumed else None)
        has_row = is_resumed or any(row["epoch"] == epoch for row in self.rows)
        if self._file is not None and self.tensorboard is not None:
            from tfwd.diagnostics.backend import tensorflow_summaries

            self._summaries = tensorflow_summaries.Summaries(
                self.tensorboard, self._step() + has_row, table.NUMBERS
            )
        if not has_row:
            self._measure(epoch)

    def on_epoch_end(self, epoch, logs=None):
        """Measures after an epoch that `every` divides."""
        self._measure(epoch + 1)

    def on_train_end(self, logs=None):
        """Draws the plot and tells what the measurements took."""
        start = time.perf_counter()
        self.close()
        if self._file is None:
            return
        if self._picture:
            draw(self.path, self.model.name)
        end = time.perf_counter()
        self.seconds += end - start
        print(table.cost(self.seconds, end - self._start))

    def close(self):
        """Closes the file of TensorBoard, after a training that failed."""
        if self._summaries is not None:
            self._summaries.close()
            self._summaries = None

    def _open(self, last_epoch):
        self.path.mkdir(parents=True, exist_ok=True)
        self._file = table.File(self.path / CSV, last_epoch)

    def _measure(self, epoch):
        if epoch % self._every:
            return
        start = time.perf_counter()
        measured = self._mechanisms.measure(self._batches, self.model.optimizer)
        place = {"epoch": epoch, "step": self._step()}
        rows = [row | place for row in measured]
        if self._file is not None:
            self._file.append(rows)
        if self._summaries is not None:
            for row in rows:
                is_of_model = row["layer"] == table.MODEL
                layer = None if is_of_model else row["layer"]
                self._summaries.append(row, layer)
        self.seconds += time.perf_counter() - start

    def _step(self):
        if self._progress is not None:
            return self._progress.step
        optimizer = wrappers.unwrapped(self.model.optimizer)
        return int(ops.convert_to_numpy(optimizer.iterations))


def draw(folder, title):
    """Draws mechanisms.png of a folder's diagnostics.csv, if it has any."""
    rows = table.read(folder / CSV) if (folder / CSV).exists() else []
    if rows:
        # Slow to import, and of no use before.
        from tfwd.diagnostics import mechanism_plots

        durable.replace(
            folder / PICTURE,
            lambda partial: mechanism_plots.draw(rows, title, partial),
        )


def _first_batches(data, count):
    """Returns a list of batches of arrays, of `count` examples or fewer."""
    batches = []
    for batch in streaming.batches_of(data):
        first = functools.partial(_first, count=count)
        batch = keras.tree.map_structure(first, batch)
        batches.append(batch)
        count -= streaming.local_size(batch)
        if count <= 0:
            break
    return batches


def _first(leaf, count):
    return None if leaf is None else ops.convert_to_numpy(leaf)[:count]
