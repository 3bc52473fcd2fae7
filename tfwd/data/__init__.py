"""Data sets and the batches made of them."""

# ruff: noqa: E402 - first whether the extra is there

import os
import warnings

from tfwd import extras

extras.require("tfwd.data", "train", "psutil", "sklearn", "tensorflow")

from tfwd.data import catalog
from tfwd.data import digits
from tfwd.data import imagenet
from tfwd.data import partition
from tfwd.data import treebank
from tfwd.data.batches import Batch
from tfwd.data.batches import Shard
from tfwd.data.in_memory import Examples
from tfwd.data.in_memory import Splits
from tfwd.data.source import Source

__all__ = ["NAMES", "Batch", "Examples", "Shard", "Source", "Splits", "load"]

NAMES = ("digits", "mnist", "cifar10", "cifar100", "imagenet2012", "ptb")

# Functions of a data set once, of 0.1.0, which are its methods.
_METHODS = (
    "evaluation_batches",
    "evaluation_steps",
    "find_damage",
    "finish",
    "training_batches",
    "training_steps",
)


def __getattr__(name):
    if name not in _METHODS:
        raise AttributeError(f"module 'tfwd.data' has no attribute {name!r}")
    warnings.warn(
        f"`tfwd.data.{name}(source, ...)` is `source.{name}(...)`.",
        DeprecationWarning,
        stacklevel=2,
    )
    return lambda source, *args, **kwargs: getattr(source, name)(
        *args, **kwargs
    )


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    num_validation: int = 0,
    train_fraction: float = 1.0,
    bptt: int = 35,
) -> Source:
    """Loads a data set into memory, or opens it where it is too large.

    Args:
        name: One of `NAMES`. The digits come with scikit-learn; the images
            are read from a folder in TensorFlow Datasets' form, Penn Treebank
            from its three text files.
        data_dir: The folder that holds `<name>`; not needed for the digits.
        num_validation: How many training examples are held out, the same
            ones in every run; 0 for text, which has a validation file.
        train_fraction: Which part of the remaining ones is trained on.
        bptt: Tokens per step and stream of a text.

    Returns:
        A `Source`; of images in memory `Splits`, which has their arrays.

    Raises:
        ValueError: A name that is not in `NAMES`, a `data_dir` without the
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
        return treebank.load(data_dir, bptt, train_fraction)
    whole = digits.load() if name == "digits" else catalog.load(name, data_dir)
    return partition.hold_out(whole, num_validation, train_fraction)
