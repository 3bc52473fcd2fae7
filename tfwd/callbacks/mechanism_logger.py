"""A Keras callback that measures the three mechanisms while a model trains."""

import functools
import time

import keras
from keras import ops

from tfwd import extras
from tfwd.diagnostics import kronecker_factors
from tfwd.diagnostics import mechanisms
from tfwd.diagnostics import streaming
from tfwd.diagnostics import table
from tfwd.kfac import fitting
from tfwd.optimizers import arguments


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
        examples: How many of the first examples of `data` are used.
        projections: As in `Mechanisms`.
        loss: As in `Mechanisms`; the compiled one by default.
        mode: As in `Mechanisms`.
        tensorboard: None, or a folder for TensorBoard scalars; one of its own,
            as TensorBoard reads one writer of a folder.
        picture: Whether to draw mechanisms.png at the end, with the extra
            `plot`.
        seed: Of what is sampled.

    Attributes:
        rows: The rows of diagnostics.csv so far.
        seconds: What the measurements of the last `fit` took, with their
            compilation, files and picture.

    Raises:
        ImportError: If a picture is to be drawn without the extra `plot`.
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
        path,
        data,
        every=1,
        diagnostics=mechanisms.DEFAULT,
        *,
        examples=1000,
        projections=1,
        loss=None,
        mode="training",
        tensorboard=None,
        picture=True,
        seed=0,
    ):
        super().__init__()
        every = arguments.check_whole("every", every, 1)
        examples = arguments.check_whole("examples", examples, 1)
        mechanisms.check_names("diagnostics", diagnostics)
        mechanisms.check_projections(projections)
        arguments.check_choice("mode", mode, kronecker_factors.MODES)
        seed = arguments.check_whole("seed", seed, 0)
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
        self._path = arguments.check_path("path", path)
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
        self._tensorboard = tensorboard
        self._picture = picture
        self._file = self._mechanisms = self._summaries = None

    @property
    def rows(self):
        """The rows of diagnostics.csv so far."""
        return [] if self._file is None else self._file.rows

    def on_train_begin(self, logs=None):
        """Checks that the model can have the diagnostics."""
        self._start = time.perf_counter()
        self.seconds = 0.0
        self._file = None
        self._mechanisms = self._make(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        """Measures before the first epoch, unless the file has it already."""
        if self._file is not None:
            return
        self._path.mkdir(parents=True, exist_ok=True)
        self._file = table.File(
            self._path / "diagnostics.csv", epoch if epoch else None
        )
        has_row = any(row["epoch"] == epoch for row in self.rows)
        if self._tensorboard is not None:
            from tfwd.diagnostics.backend import tensorflow_summaries

            self._summaries = tensorflow_summaries.Summaries(
                self._tensorboard, self._step() + has_row
            )
        if not has_row:
            self._measure(epoch)

    def on_epoch_end(self, epoch, logs=None):
        """Measures after an epoch that `every` divides."""
        self._measure(epoch + 1)

    def on_train_end(self, logs=None):
        """Draws the picture and tells what the measurements took."""
        start = time.perf_counter()
        if self._summaries is not None:
            self._summaries.close()
        if self._picture and self.rows:
            # Slow to import, and of no use before.
            from tfwd.diagnostics import mechanism_plots

            path = self._path / "mechanisms.png"
            mechanism_plots.draw(self.rows, self.model.name, path)
        end = time.perf_counter()
        self.seconds += end - start
        print(table.cost(self.seconds, end - self._start))

    def _measure(self, epoch):
        if epoch % self._every:
            return
        start = time.perf_counter()
        measured = self._mechanisms.measure(self._batches, self.model.optimizer)
        place = {"epoch": epoch, "step": self._step()}
        rows = [row | place for row in measured]
        self._file.append(rows)
        if self._summaries is not None:
            self._summaries.append(rows)
        self.seconds += time.perf_counter() - start

    def _step(self):
        optimizer = fitting.unwrapped(self.model.optimizer)
        return int(ops.convert_to_numpy(optimizer.iterations))


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
