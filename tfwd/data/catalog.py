"""MNIST, CIFAR-10 and CIFAR-100 from a folder in TensorFlow Datasets' form.

Nothing is ever downloaded: a data set is read through the description that
lies beside its files (`<data_dir>/<name>/<version>/dataset_info.json`), which
needs neither the code that made it nor a network.
"""

import dataclasses
import os

import numpy as np

from tfwd.data import partition


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


def load(name: str, data_dir: str | os.PathLike | None) -> partition.Splits:
    """Reads the newest version of `name` under `data_dir`, images as uint8.

    Args:
        name: one of `NORMALIZATION`.
        data_dir: the folder that holds `<name>/<version>`.

    Raises:
        ValueError: `data_dir` is None or does not hold the data set.
    """
    builder = open_newest(name, data_dir, preparation(name))
    # Imported here because it is slow, and the digits do without it.
    import tensorflow_datasets as tfds

    def read(split: str) -> partition.Examples:
        images, labels = tfds.as_numpy(
            builder.as_dataset(split=split, batch_size=-1, as_supervised=True)
        )
        return partition.Examples(images, labels.astype(np.int32))

    train, test = read("train"), read("test")
    return partition.Splits(
        name=name,
        train=train,
        validation=None,
        test=test,
        num_classes=builder.info.features["label"].num_classes,
        image_shape=train.images.shape[1:],
        mean=NORMALIZATION[name].mean,
        std=NORMALIZATION[name].std,
    )


def open_newest(
    name: str, data_dir: str | os.PathLike | None, preparation: str
):
    """Returns the TFDS builder of the newest version of `name`.

    Args:
        name: a folder under `data_dir`.
        data_dir: the folder that holds `<name>/<version>`.
        preparation: how such a folder is made, for the error message.

    Raises:
        ValueError: `data_dir` is None or does not hold the data set.
    """
    if data_dir is None:
        raise ValueError(
            f"`data_dir` must name the folder that holds {name}/<version>; "
            f"{preparation}. Received: data_dir=None"
        )
    import tensorflow_datasets as tfds

    folder = tfds.core.Path(data_dir).expanduser() / name
    versions = [
        path.parent
        for path in folder.glob("*/dataset_info.json")
        if tfds.core.Version.is_valid(path.parent.name)
    ]
    if not versions:
        raise ValueError(
            f"`data_dir` must hold {name}/<version>/dataset_info.json; "
            f"searched {folder}; {preparation}. "
            f"Received: data_dir={os.fspath(data_dir)}"
        )
    newest = max(versions, key=lambda path: tfds.core.Version(path.name))
    return tfds.builder_from_directory(newest)


def preparation(name: str) -> str:
    """Says how the folder of `name` is made."""
    return (
        f"`python -m tfwd.data.prepare --dataset={name} --source=FILES "
        "--data_dir=DATA_DIR` makes it of files that you have, and "
        f"`tfds build {name} --data_dir=DATA_DIR` downloads them"
    )
