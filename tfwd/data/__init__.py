"""Data sets in memory and the batches made of them."""

import os

from tfwd.data import catalog
from tfwd.data import digits
from tfwd.data import partition
from tfwd.data.partition import Examples
from tfwd.data.partition import Splits
from tfwd.data.pipeline import evaluation_batches
from tfwd.data.pipeline import training_batches

__all__ = [
    "NAMES",
    "Examples",
    "Splits",
    "evaluation_batches",
    "load",
    "training_batches",
]

NAMES = ("digits", "mnist", "cifar10", "cifar100")


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    num_validation: int = 0,
    train_fraction: float = 1.0,
) -> Splits:
    """Loads a data set into memory.

    Args:
        name: one of `NAMES`. The digits come with scikit-learn, the others
            are read from a folder in TensorFlow Datasets' form.
        data_dir: the folder that holds `<name>/<version>`; not needed for
            the digits.
        num_validation: how many training examples are held out, the same
            ones in every run.
        train_fraction: which part of the remaining ones is trained on.

    Raises:
        ValueError: a name that is not in `NAMES`, a `data_dir` without the
            data set, or a split that is not possible.
    """
    if name not in NAMES:
        raise ValueError(
            f"`name` must be one of {', '.join(NAMES)}. Received: name={name}"
        )
    whole = digits.load() if name == "digits" else catalog.load(name, data_dir)
    return partition.hold_out(whole, num_validation, train_fraction)
