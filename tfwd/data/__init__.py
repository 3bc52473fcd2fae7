"""Data sets and the batches made of them."""

# ruff: noqa: E402 - first whether the extra is there

import os

from tfwd import extras

extras.require("tfwd.data", "train", "psutil", "sklearn", "tensorflow")

from tfwd.data import catalog
from tfwd.data import digits
from tfwd.data import imagenet
from tfwd.data import partition
from tfwd.data import pipeline  # noqa: F401 - registers images in memory
from tfwd.data import text
from tfwd.data.batches import Batch
from tfwd.data.batches import Shard
from tfwd.data.batches import evaluation_batches
from tfwd.data.batches import evaluation_steps
from tfwd.data.batches import find_damage
from tfwd.data.batches import finish
from tfwd.data.batches import training_batches
from tfwd.data.batches import training_steps
from tfwd.data.partition import Examples
from tfwd.data.partition import Splits

__all__ = [
    "NAMES",
    "Batch",
    "Examples",
    "Shard",
    "Splits",
    "evaluation_batches",
    "evaluation_steps",
    "find_damage",
    "finish",
    "load",
    "training_batches",
    "training_steps",
]

NAMES = ("digits", "mnist", "cifar10", "cifar100", "imagenet2012", "ptb")


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    num_validation: int = 0,
    train_fraction: float = 1.0,
    bptt: int = 35,
):
    """Loads a data set into memory, or opens it where it is too large.

    Args:
        name: one of `NAMES`. The digits come with scikit-learn; the images
            are read from a folder in TensorFlow Datasets' form, Penn Treebank
            from its three text files.
        data_dir: the folder that holds `<name>`; not needed for the digits.
        num_validation: how many training examples are held out, the same
            ones in every run; 0 for text, which has a validation file.
        train_fraction: which part of the remaining ones is trained on.
        bptt: words per step and stream of a text.

    Returns:
        `Splits`, `imagenet.Records` or `text.Text`. Each has `name`,
        `num_classes` and `split_names`, and the functions of `batches` take
        it.

    Raises:
        ValueError: a name that is not in `NAMES`, a `data_dir` without the
            data set or with a damaged one, or a split that is not possible.
    """
    if name not in NAMES:
        raise ValueError(
            f"`name` must be one of {', '.join(NAMES)}. Received: name={name}"
        )
    if name == imagenet.NAME:
        return imagenet.load(data_dir, num_validation, train_fraction)
    if name == "ptb":
        if num_validation:
            raise ValueError(
                "`num_validation` must be 0 for ptb, which has a validation "
                f"file. Received: num_validation={num_validation}"
            )
        return text.load(data_dir, bptt, train_fraction)
    whole = digits.load() if name == "digits" else catalog.load(name, data_dir)
    return partition.hold_out(whole, num_validation, train_fraction)
