"""Short runs of the binary, and what they leave behind."""

import csv
import pathlib
import zipfile

import h5py
import numpy as np

from tfwd_tests.training import processes

OPTIMIZERS = {
    "sgds": ["--optimizer=sgds", "--learning_rate=0.05"],
    "adams": ["--optimizer=adams", "--learning_rate=0.003"],
    "adais": ["--optimizer=adais", "--learning_rate=0.1"],
    "kfac": [
        *("--optimizer=kfac", "--learning_rate=0.02", "--damping=0.1"),
        *("--factor_every=2", "--inverse_every=4", "--cold_start"),
    ],
}
# 14 steps in each of four epochs, of which the last is one of 15 examples.
QUICK = [
    *("--epochs=4", "--hidden_units=16", "--train_fraction=0.3"),
    *("--batch_size=32", "--steps_per_loop=3", "--checkpoint_every=5"),
]
_TIMING = ("elapsed_seconds", "examples_per_second")


def start(folder, *arguments, largest_file=None):
    """Starts a quick run in a folder; its output is in <folder>.log."""
    return processes.start(
        processes.train,
        [*QUICK, *arguments, f"--output_dir={folder}"],
        None,
        largest_file,
        log=f"{folder}.log",
    )


def rows(folder):
    """The rows of metrics.csv as texts, without the columns of time."""
    path = pathlib.Path(folder) / "metrics.csv"
    with path.open(newline="") as file:
        return [
            {name: text for name, text in row.items() if name not in _TIMING}
            for row in csv.DictReader(file)
        ]


def weights(folder, name="final.keras"):
    """All arrays of a saved model and of its optimizer, by path."""
    arrays = {}

    def keep(path, item):
        if isinstance(item, h5py.Dataset):
            arrays[path] = np.array(item)

    with (
        zipfile.ZipFile(pathlib.Path(folder) / name) as archive,
        archive.open("model.weights.h5") as file,
        h5py.File(file) as stored,
    ):
        stored.visititems(keep)
    return arrays
