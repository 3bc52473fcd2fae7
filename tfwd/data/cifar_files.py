"""The two forms of CIFAR-10's and CIFAR-100's files: pickles and binaries.

A record of a binary holds the labels of an image, a byte each, and its red,
green and blue channel, 32 rows of 32 bytes each. A pickle, of Python 2, holds
the channels of all its images as one array `[examples, 3072]` and the labels
as lists. See Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import dataclasses
import io
import pickle
from collections.abc import Iterable
from collections.abc import Mapping

import numpy as np

from tfwd.data import sources

IMAGE_BYTES = 3 * 32 * 32


@dataclasses.dataclass(frozen=True)
class Form:
    """Where the parts of a data set are.

    Args:
        folder: What its archive unpacks to.
        pickled: Whether the files are pickles, or binaries and texts.
        train: The files of the training set, in their order.
        test: The files of the test set.
        names: The file with the names of the classes, for each kind of label.
    """

    folder: str
    pickled: bool
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: dict[str, str]

    @property
    def first(self) -> str:
        """The file by which the form is recognized."""
        return f"{self.folder}/{self.train[0]}"


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
FORMS = {
    "cifar10": (
        Form(
            folder="cifar-10-batches-py",
            pickled=True,
            train=_BATCHES,
            test=("test_batch",),
            names={"label": "batches.meta"},
        ),
        Form(
            folder="cifar-10-batches-bin",
            pickled=False,
            train=tuple(f"{name}.bin" for name in _BATCHES),
            test=("test_batch.bin",),
            names={"label": "batches.meta.txt"},
        ),
    ),
    "cifar100": (
        Form(
            folder="cifar-100-python",
            pickled=True,
            train=("train",),
            test=("test",),
            names={"coarse_label": "meta", "label": "meta"},
        ),
        Form(
            folder="cifar-100-binary",
            pickled=False,
            train=("train.bin",),
            test=("test.bin",),
            names={
                "coarse_label": "coarse_label_names.txt",
                "label": "fine_label_names.txt",
            },
        ),
    ),
}

# Each kind of label: its name in TensorFlow Datasets, in the order of the
# binaries, and what the pickles call one.
LABELS = {
    "cifar10": {"label": "label"},
    "cifar100": {"coarse_label": "coarse_label", "label": "fine_label"},
}


def read(
    name: str, source: sources.Source
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, list[str]]]:
    """Reads a data set.

    Args:
        name: One of the `FORMS`.
        source: Its files, in the one form or the other.

    Returns:
        For "train" and "test" the array "image", uint8
        `[examples, 32, 32, 3]`, and each kind of label, `[examples]`; and
        for each kind of label the names of its classes.

    Raises:
        ValueError: A file is missing or does not hold what its name says.
    """
    forms = FORMS[name]
    form = next((form for form in forms if source.holds(form.first)), None)
    if form is None:
        firsts = " or ".join(form.first for form in forms)
        raise ValueError(
            f"`source` must hold {firsts}. Received: source={source.path}"
        )
    decode = from_pickle if form.pickled else from_binary
    labels = LABELS[name]
    splits = {}
    for split, files in (("train", form.train), ("test", form.test)):
        parts = []
        for file in files:
            file = f"{form.folder}/{file}"
            raw = source.read(file)
            parts.append(decode(raw, source.place(file), labels))
        splits[split] = {
            key: np.concatenate([part[key] for part in parts])
            for key in ("image", *labels)
        }
    names = {}
    for kind, file in form.names.items():
        file = f"{form.folder}/{file}"
        raw, place = source.read(file), source.place(file)
        if form.pickled:
            names[kind] = pickled_names(raw, place, labels[kind])
        else:
            names[kind] = _text(raw, place).split()
    return splits, names


def from_binary(
    raw: bytes, name: str, labels: Iterable[str]
) -> dict[str, np.ndarray]:
    """Returns images and labels, by name, of a binary.

    Args:
        raw: The file.
        name: What errors call it.
        labels: The kinds of label, in their order.

    Raises:
        ValueError: The size is not that of a number of records.
    """
    kinds = tuple(labels)
    record = len(kinds) + IMAGE_BYTES
    if not raw or len(raw) % record:
        raise ValueError(
            f"{name} must hold records of {record} bytes. "
            f"Received: {len(raw)} bytes"
        )
    records = np.frombuffer(raw, np.uint8).reshape(-1, record)
    arrays = {kind: records[:, place] for place, kind in enumerate(kinds)}
    return {"image": _images(records[:, len(kinds) :]), **arrays}


def from_pickle(
    raw: bytes, name: str, labels: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Returns images and labels, by name, of a pickle.

    Args:
        raw: The file.
        name: What errors call it.
        labels: The kinds of label, and what the pickle calls one.

    Raises:
        ValueError: The pickle holds anything else.
    """
    content = unpickled(raw, name)
    pixels = _entry(content, name, "data", _Array).values(name)
    if pixels.ndim != 2 or pixels.shape[1] != IMAGE_BYTES:
        raise ValueError(
            f"{name} must hold images of {IMAGE_BYTES} bytes. "
            f"Received: an array of shape {pixels.shape}"
        )
    arrays = {"image": _images(pixels)}
    for kind, key in labels.items():
        numbers = _entry(content, name, f"{key}s", list)
        if not all(isinstance(n, int) and 0 <= n < 256 for n in numbers):
            raise ValueError(
                f"{name} must hold {key}s in 0..255. Received: {numbers[:9]}"
            )
        if len(numbers) != len(pixels):
            raise ValueError(
                f"{name} must hold a {key} for each of its {len(pixels)} "
                f"images. Received: {len(numbers)}"
            )
        arrays[kind] = np.array(numbers, np.uint8)
    return arrays


def pickled_names(raw: bytes, name: str, label: str) -> list[str]:
    """Returns the names of the classes.

    Args:
        raw: The pickle.
        name: What errors call it.
        label: What it calls a label of their kind.

    Raises:
        ValueError: The pickle holds anything else.
    """
    names = _entry(unpickled(raw, name), name, f"{label}_names", list)
    if not all(isinstance(each, bytes) for each in names):
        raise ValueError(
            f"{name} must hold names of classes. Received: {names[:9]}"
        )
    return [_text(each, name) for each in names]


def unpickled(raw: bytes, name: str) -> object:
    """Unpickles what CIFAR's files hold, and runs nothing that they name.

    Raises:
        ValueError: The pickle holds anything but numbers, bytes, lists,
            dicts and arrays, or is damaged.
    """
    try:
        return _Unpickler(io.BytesIO(raw), encoding="bytes").load()
    # Of a damaged pickle any exception may come.
    except Exception as error:
        raise ValueError(
            f"{name} must be a pickle as in CIFAR's archive. Received: {error}"
        ) from error


def _text(raw, name):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} must hold names in UTF-8. Received: "
            f"0x{error.object[error.start]:02x}"
        ) from error


class _Array:
    """Stands for an array, so that NumPy is not called with a file's words."""

    def __init__(self, *_):
        self.state = None

    def __setstate__(self, state):
        self.state = state

    def values(self, name):
        """Returns the array of bytes, or raises ValueError."""
        try:
            _, shape, _, columns_first, raw = self.state
            return np.frombuffer(raw, np.uint8).reshape(
                shape, order="F" if columns_first else "C"
            )
        except (OverflowError, TypeError, ValueError) as error:
            raise ValueError(
                f"{name} must hold an array of bytes. Received: {error}"
            ) from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) in (
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        ):
            return _Array
        raise pickle.UnpicklingError(f"{module}.{name}, which is not admitted")


def _entry(content, name, key, kind):
    """Returns what a pickle holds at `key`."""
    value = content.get(key.encode()) if isinstance(content, dict) else None
    if not isinstance(value, kind):
        raise ValueError(
            f"{name} must be a dict with {key}. Received: "
            f"{type(value).__name__}"
        )
    return value


def _images(pixels):
    """Returns `[examples, 3072]` as `[examples, 32, 32, 3]`."""
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
