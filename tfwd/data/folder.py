"""A data set's folder in TensorFlow Datasets' form, `<name>/<version>`.

Only the files in it are needed: neither that library nor a network. Paths may
be those of every file system that TensorFlow knows.
"""

import dataclasses
import os
import re

import tensorflow as tf

from tfwd.data import description
from tfwd.data import preparation

INFO, FEATURES = "dataset_info.json", "features.json"
# What reading may raise. TensorFlow quotes a record that it cannot parse, and
# cannot make an error of its own of bytes that are not UTF-8.
READ_ERRORS = (tf.errors.OpError, UnicodeDecodeError)
_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder whose description was read.

    Args:
        name: The data set.
        path: `<data_dir>/<name>/<version>`.
        splits: What is known of each split of the folder.
        features: What is in an example.
    """

    name: str
    path: str
    splits: dict[str, description.Split]
    features: description.Features

    def shards(self, split: str) -> list[tuple[str, int]]:
        """Returns path and number of examples of each file that has any."""
        found = self.splits[split]
        return [
            (os.path.join(self.path, file), length)
            for file, length in zip(found.files, found.lengths, strict=True)
            if length
        ]

    def refusal(self, path: str, reason: str) -> ValueError:
        """Returns the error about a damaged file.

        Args:
            path: The file.
            reason: What is wrong, to be read after its name.
        """
        return _refusal(self.name, self.path, path, reason)


def newest(
    name: str,
    data_dir: str | os.PathLike | None,
    splits: tuple[str, ...],
    channels: int,
) -> Folder:
    """Opens the newest version of `name`; an older one does not stand in.

    Args:
        name: A folder under `data_dir`.
        data_dir: The folder that holds `<name>/<version>`.
        splits: Those that it must have.
        channels: Of its images.

    Raises:
        ValueError: `data_dir` is None, does not hold the data set, or what
            describes it there is damaged.
    """
    if data_dir is None:
        raise ValueError(
            f"`data_dir` must name the folder that holds {name}/<version>; "
            f"{preparation.explained(name, None)}. Received: data_dir=None"
        )
    root = os.path.join(os.path.expanduser(os.fspath(data_dir)), name)
    versions = _versions(root)
    if not any(_is_file(root, version, INFO) for version in versions):
        raise ValueError(
            f"`data_dir` must hold {name}/<version>/{INFO}; "
            f"searched {root}; {preparation.explained(name, data_dir)}. "
            f"Received: data_dir={os.fspath(data_dir)}"
        )
    version = max(versions, key=_numbers)
    path = os.path.join(root, version)

    def described(file, function):
        place = os.path.join(path, file)
        try:
            return function(description.parsed(read(place)))
        except ValueError as error:
            reason = str(error)
        except tf.errors.OpError as error:
            reason = failure(error)
        raise _refusal(name, path, place, reason)

    file_format = described(INFO, description.file_format)
    if file_format != description.FILE_FORMAT:
        raise ValueError(
            "`data_dir` must hold TFRecord files. "
            f"Received: {file_format} files in {path}"
        )
    found = described(INFO, lambda info: description.splits(info, name))
    missing = [split for split in splits if split not in found]
    if missing:
        raise ValueError(
            f"`data_dir` must hold the splits {' and '.join(splits)}. "
            f"Received: {path} without {', '.join(missing)}"
        )
    features = described(
        FEATURES, lambda content: description.features(content, channels)
    )
    return Folder(name, path, found, features)


def read(path: str) -> bytes:
    """Returns what a file holds, or raises one of `tf.errors`."""
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def failure(error: Exception) -> str:
    """Says that a file cannot be read, to be read after its name."""
    if isinstance(error, tf.errors.NotFoundError):
        return "there is no such file"
    return f"it cannot be read ({reason_of(error)})"


def reason_of(error: Exception) -> str:
    """Returns what TensorFlow says, in a line and without its own names."""
    text = re.sub(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*", "", str(error))
    return " ".join(text.split())[:200] or type(error).__name__


def _refusal(name, folder, path, reason):
    data_dir = os.path.dirname(os.path.dirname(folder))
    return ValueError(
        f"`data_dir` must hold {name} undamaged; move {folder} away, then "
        f"{preparation.explained(name, data_dir)}. Received: {path}: {reason}"
    )


def _versions(root):
    if not tf.io.gfile.isdir(root):
        return []
    try:
        listed = tf.io.gfile.listdir(root)
    except tf.errors.OpError as error:
        raise ValueError(
            "`data_dir` must hold folders that can be read. "
            f"Received: {root} ({reason_of(error)})"
        ) from error
    # An object store ends the names of folders with a slash.
    names = [name.rstrip("/") for name in listed]
    return [
        name
        for name in names
        if _VERSION.fullmatch(name)
        and tf.io.gfile.isdir(os.path.join(root, name))
    ]


def _numbers(version):
    return tuple(map(int, version.split(".")))


def _is_file(*parts):
    path = os.path.join(*parts)
    return tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)
