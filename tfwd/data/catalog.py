"""MNIST, CIFAR-10 and CIFAR-100 from a folder in TensorFlow Datasets' form.

Nothing is ever downloaded: a data set is read through the description that
lies beside its files (`<data_dir>/<name>/<version>/dataset_info.json`), which
needs neither the code that made it nor a network.
"""

import dataclasses
import os

import tensorflow as tf

from tfwd.data import damage
from tfwd.data import examples
from tfwd.data import folder as folder_lib
from tfwd.data import in_memory
from tfwd.data import pipeline
from tfwd.data import records


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Per-channel `mean` and `std` of images scaled to 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


# Zhang et al. 2019, as in their published code. The deviations of CIFAR-10 are
# means over images of each image's own; those of all its pixels would be
# (0.2470, 0.2435, 0.2616).
NORMALIZATION = {
    "mnist": Normalization(mean=(0.0,), std=(1.0,)),
    "cifar10": Normalization(
        mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)
    ),
    "cifar100": Normalization(
        mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761)
    ),
}


def load(name: str, data_dir: str | os.PathLike | None) -> in_memory.Splits:
    """Reads the newest version of `name` under `data_dir`, images as uint8.

    Args:
        name: one of `NORMALIZATION`.
        data_dir: the folder that holds `<name>/<version>`.

    Raises:
        ValueError: `data_dir` is None or does not hold the data set, or a
            file is damaged.
    """
    normalization = NORMALIZATION[name]
    folder = folder_lib.newest(
        name,
        data_dir,
        splits=("train", "test"),
        channels=len(normalization.mean),
    )
    train, test = (_read(folder, split) for split in ("train", "test"))
    return in_memory.Splits(
        name=name,
        train=train,
        validation=None,
        test=test,
        num_classes=folder.features.num_classes,
        image_shape=train.images.shape[1:],
        mean=normalization.mean,
        std=normalization.std,
    )


def _read(folder, split):
    """All examples of a split, in the order of its files."""
    damage.check_files(folder, split)
    features = folder.features

    def decode(encoded):
        return examples.image(encoded, features.image_shape)

    def read(serialized):
        encoded, label = examples.parsed(serialized, features.num_classes)
        return decode(encoded), label

    whole = records.file_of_records([path for path, _ in folder.shards(split)])
    size = folder.splits[split].num_examples
    try:
        ((images, labels),) = pipeline.in_parallel(whole, read).batch(size)
    except folder_lib.READ_ERRORS as error:
        damage.check_records(folder, [split], decode)
        if isinstance(error, tf.errors.ResourceExhaustedError):
            raise
        raise folder.refusal(folder.path, folder_lib.failure(error)) from error
    return in_memory.Examples(images.numpy(), labels.numpy())
