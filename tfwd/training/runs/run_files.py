"""The files of a run: where each one is, and what there is of them."""

import dataclasses
import pathlib
import zipfile

# What a run writes; a folder that holds any of it is not written to.
NAMES = (
    "flags.txt",
    "run.json",
    "metrics.csv",
    "steps.csv",
    "curves.png",
    "diagnostics.csv",
    "mechanisms.png",
    "last.keras",
    "best.keras",
    "final.keras",
    "tensorboard",
    "checkpoints",
)
# The parts of a .keras file, without which it is none.
_PARTS = {"metadata.json", "config.json", "model.weights.h5"}


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of a run, whether they are there or not.

    Attributes:
        folder: The `pathlib.Path` of the run.
    """

    folder: pathlib.Path

    @property
    def flags(self):
        """The flags that replay the run."""
        return self.folder / "flags.txt"

    @property
    def description(self):
        """What is worth knowing of the run beyond its flags."""
        return self.folder / "run.json"

    @property
    def metrics(self):
        """A row per epoch."""
        return self.folder / "metrics.csv"

    @property
    def steps(self):
        """A row per so many steps."""
        return self.folder / "steps.csv"

    @property
    def curves(self):
        """The metrics, drawn."""
        return self.folder / "curves.png"

    @property
    def diagnostics(self):
        """A row per layer and measurement."""
        return self.folder / "diagnostics.csv"

    @property
    def mechanisms(self):
        """The diagnostics, drawn."""
        return self.folder / "mechanisms.png"

    @property
    def last_model(self):
        """The model after the last finished epoch, until the run is over."""
        return self.folder / "last.keras"

    @property
    def best_model(self):
        """The model after the best epoch."""
        return self.folder / "best.keras"

    @property
    def final_model(self):
        """The model at the end of the run."""
        return self.folder / "final.keras"

    @property
    def tensorboard(self):
        """The folder of TensorBoard's files."""
        return self.folder / "tensorboard"

    @property
    def checkpoints(self):
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def models(self):
        """The models that a run writes."""
        return self.last_model, self.best_model, self.final_model

    def existing(self):
        """Returns the paths that are there, in the order of `NAMES`."""
        paths = (self.folder / name for name in NAMES)
        return [path for path in paths if path.exists()]

    def results(self):
        """Returns the names of the files that tell of training.

        Raises:
            OSError: metrics.csv cannot be read.
        """
        found = [path.name for path in self.models if path.exists()]
        try:
            with self.metrics.open("rb") as file:
                # The first line has the names of the columns.
                if len(file.read().splitlines()) > 1:
                    found.insert(0, self.metrics.name)
        except FileNotFoundError:
            pass
        return found

    def has_final_model(self):
        """Returns whether every byte of the final model can be read.

        Raises:
            OSError: It is there and cannot be read now.
        """
        try:
            with zipfile.ZipFile(self.final_model) as archive:
                names = set(archive.namelist())
                return names >= _PARTS and archive.testzip() is None
        except FileNotFoundError:
            return False
        except OSError:
            raise
        # Damage shows as BadZipFile, zlib.error and others.
        except Exception:
            return False
