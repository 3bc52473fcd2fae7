"""MNIST and CIFAR, written in TensorFlow Datasets' form from files at hand."""

import os
import pathlib
import tempfile
from collections.abc import Mapping

import numpy as np
import tensorflow_datasets as tfds

from tfwd.data import cifar_files
from tfwd.data import idx
from tfwd.data import sources

# How many examples of each class "train" and "test" hold.
COUNTS = {
    "mnist": {
        "train": {
            "label": (
                *(5923, 6742, 5958, 6131, 5842),
                *(5421, 5918, 6265, 5851, 5949),
            )
        },
        "test": {
            "label": (
                *(980, 1135, 1032, 1010, 982),
                *(892, 958, 1028, 974, 1009),
            )
        },
    },
    "cifar10": {
        "train": {"label": (5000,) * 10},
        "test": {"label": (1000,) * 10},
    },
    "cifar100": {
        "train": {"label": (500,) * 100, "coarse_label": (2500,) * 20},
        "test": {"label": (100,) * 100, "coarse_label": (500,) * 20},
    },
}

Arrays = Mapping[str, np.ndarray]


def prepare(
    name: str,
    source: str | os.PathLike,
    data_dir: str | os.PathLike,
    counts: Mapping[str, Mapping[str, tuple[int, ...]]] | None = None,
    md5: Mapping[str, str] | None = None,
) -> str:
    """Writes `<data_dir>/<name>/<version>` as TensorFlow Datasets would.

    The examples and their order are those that `tfds build` arrives at. The
    folder appears when it is complete, with the SHA-256 of each file that was
    read in its metadata.json.

    Args:
        name: "mnist", "cifar10" or "cifar100".
        source: The folder with MNIST's idx files, unpacked or as .gz; the
            folder or the .tar.gz with CIFAR's pickles or binaries.
        data_dir: Where to write.
        counts: The examples of each class, if not `COUNTS[name]`.
        md5: The checksums of archives, if not `sources.MD5[name]`.

    Returns:
        The folder that was written.

    Raises:
        ValueError: The data set is there already, or `source` does not hold
            it, or something else by that name.
    """
    refuse_existing(name, data_dir)
    path = pathlib.Path(source).expanduser()
    files = sources.Source(path, sources.MD5[name] if md5 is None else md5)
    if name == "mnist":
        splits, class_names = idx.read(files), {}
    else:
        splits, class_names = cifar_files.read(name, files)
    try:
        check(splits, class_names, COUNTS[name] if counts is None else counts)
    except ValueError as error:
        raise ValueError(f"{error} in {path}") from error
    return write(name, splits, class_names, files.sha256, data_dir)


def refuse_existing(name: str, data_dir: str | os.PathLike):
    """Raises ValueError if `data_dir` holds the data set."""
    version = tfds.builder_cls(name).VERSION
    folder = tfds.core.Path(data_dir).expanduser() / name / str(version)
    if folder.exists():
        raise ValueError(
            f"`data_dir` must not hold {name}/{version} already; nothing is "
            f"overwritten. Received: data_dir={os.fspath(data_dir)}"
        )


def check(
    splits: Mapping[str, Arrays],
    class_names: Mapping[str, list[str]],
    counts: Mapping[str, Mapping[str, tuple[int, ...]]],
):
    """Checks that there is a label for each image, and how many of each.

    Args:
        splits: The arrays of each split.
        class_names: The names of the classes, of each kind of label.
        counts: The examples of each class, for each split and kind of label.

    Raises:
        ValueError: One of them is not as it must be.
    """
    for kind, names in class_names.items():
        expected = len(counts["train"][kind])
        if len(names) != expected:
            raise ValueError(
                f"`source` must name {expected} classes of {kind}. "
                f"Received: {len(names)}"
            )
    for split, kinds in counts.items():
        for kind, expected in kinds.items():
            labels, images = splits[split][kind], splits[split]["image"]
            if len(labels) != len(images):
                raise ValueError(
                    f"{split} must hold a {kind} for each of its "
                    f"{len(images)} images. Received: {len(labels)}"
                )
            found = np.bincount(labels, minlength=len(expected))
            if len(found) > len(expected):
                raise ValueError(
                    f"{split} must hold a {kind} in 0..{len(expected) - 1} "
                    f"for each image. Received: {labels.max()}"
                )
            for number, count in enumerate(expected):
                if found[number] != count:
                    raise ValueError(
                        f"{split} must hold {count} images of {kind} "
                        f"{number}. Received: {found[number]}"
                    )


def write(
    name: str,
    splits: Mapping[str, Arrays],
    class_names: Mapping[str, list[str]],
    sha256: Mapping[str, str],
    data_dir: str | os.PathLike,
) -> str:
    """Writes arrays as the data set `name`; see `prepare`.

    Args:
        name: The data set.
        splits: The arrays of each split, by the names of the features.
        class_names: The names of the classes, of each kind of label.
        sha256: What is recorded beside them.
        data_dir: Where to write.
    """
    published = name

    class Prepared(tfds.builder_cls(name), skip_registration=True):
        """The library's data set, with examples from elsewhere."""

        name = published
        # Nothing is fetched from anywhere.
        url_infos = None

        def _info(self):
            info = super()._info()
            for kind, names in class_names.items():
                info.features[kind].names = names
            return tfds.core.DatasetInfo(
                builder=self,
                description=info.description,
                features=info.features,
                supervised_keys=info.supervised_keys,
                homepage=info.homepage,
                citation=info.citation,
                metadata=tfds.core.MetadataDict(sha256=dict(sha256)),
            )

        def _split_generators(self, dl_manager):
            return {
                split: self._examples(split, arrays)
                for split, arrays in splits.items()
            }

        def _examples(self, split, arrays):
            # The library shuffles by these keys: they make the same order.
            for number in range(len(arrays["image"])):
                example = {key: each[number] for key, each in arrays.items()}
                if "id" in self.info.features:
                    example["id"] = f"{split}_{number:05d}"
                yield number, example

    builder = Prepared(data_dir=os.path.expanduser(data_dir))
    # The library wants a folder for downloads, also when there are none.
    with tempfile.TemporaryDirectory() as scratch:
        builder.download_and_prepare(
            download_dir=scratch,
            download_config=tfds.download.DownloadConfig(
                try_download_gcs=False
            ),
        )
    return os.fspath(builder.data_dir)


def download(name: str, data_dir: str | os.PathLike) -> str:
    """Has TensorFlow Datasets download the data set and write it.

    Returns:
        The folder that was written.

    Raises:
        ValueError: The data set is there already.
    """
    refuse_existing(name, data_dir)
    folder = os.path.expanduser(data_dir)
    _, info = tfds.load(name, data_dir=folder, download=True, with_info=True)
    return os.fspath(info.data_dir)
