"""Tiny data sets in the files that MNIST and CIFAR are published in.

Written from the formats' descriptions, not by the code that reads them.
"""

import hashlib
import io
import pickle
import struct
import tarfile

import numpy as np

SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3), "cifar100": (32, 32, 3)}
CLASSES = {
    "mnist": {"label": 10},
    "cifar10": {"label": 10},
    "cifar100": {"coarse_label": 20, "label": 100},
}
SIZES = {"train": 10, "test": 3}


def random_splits(name):
    """A few random images with random labels."""
    rng = np.random.RandomState(len(name))
    return {
        split: {
            "image": rng.randint(0, 256, (size, *SHAPES[name])).astype("u1"),
            **{
                kind: rng.randint(0, classes, size).astype("u1")
                for kind, classes in CLASSES[name].items()
            },
        }
        for split, size in SIZES.items()
    }


def counts_of(name, splits):
    return {
        split: {
            kind: tuple(np.bincount(arrays[kind], minlength=classes))
            for kind, classes in CLASSES[name].items()
        }
        for split, arrays in splits.items()
    }


def names_of(name):
    return {
        kind: [f"{kind}_{number}" for number in range(classes)]
        for kind, classes in CLASSES[name].items()
    }


def mnist_files(splits):
    """Returns the files by name; the headers are written out by hand."""
    files = {}
    for prefix, split in (("train", "train"), ("t10k", "test")):
        images, labels = splits[split]["image"], splits[split]["label"]
        files[f"{prefix}-images-idx3-ubyte"] = (
            bytes.fromhex("00000803")
            + struct.pack(">III", len(images), 28, 28)
            + images.tobytes()
        )
        files[f"{prefix}-labels-idx1-ubyte"] = (
            bytes.fromhex("00000801")
            + struct.pack(">I", len(labels))
            + labels.tobytes()
        )
    return files


class Python2Pickler(pickle._Pickler):
    """Writes bytes and str alike as the str of Python 2."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        raw = value if isinstance(value, bytes) else value.encode()
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string


def pickled(content):
    """Returns a pickle as CIFAR's, of an old Python and an old NumPy."""
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(content)
    return stream.getvalue().replace(b"numpy._core.", b"numpy.core.")


def channels_first(images):
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def cifar_folder(name, splits, is_pickled):
    """Returns the name of the folder and its files by name."""
    two_kinds = name == "cifar100"
    keys = {kind: kind for kind in CLASSES[name]}
    if two_kinds:
        keys["label"] = "fine_label"
    files = {}
    for split, arrays in splits.items():
        if two_kinds:
            parts = {split: slice(None)}
        elif split == "train":
            parts = {
                f"data_batch_{n + 1}": slice(2 * n, 2 * n + 2) for n in range(5)
            }
        else:
            parts = {"test_batch": slice(None)}
        for file, part in parts.items():
            pixels = channels_first(arrays["image"][part])
            labels = {kind: arrays[kind][part] for kind in CLASSES[name]}
            if is_pickled:
                content = {"batch_label": file, "data": pixels}
                for kind, numbers in labels.items():
                    content[f"{keys[kind]}s"] = numbers.tolist()
                files[file] = pickled(content)
            else:
                columns = [numbers[:, None] for numbers in labels.values()]
                records = np.concatenate([*columns, pixels], axis=1)
                files[f"{file}.bin"] = records.tobytes()
    names = names_of(name)
    if is_pickled:
        content = {f"{keys[kind]}_names": names[kind] for kind in names}
        files["meta" if two_kinds else "batches.meta"] = pickled(content)
    else:
        for kind, words in names.items():
            file = f"{keys[kind]}_names" if two_kinds else "batches.meta"
            files[f"{file}.txt"] = "\n".join([*words, "", ""]).encode()
    folder = {
        ("cifar10", True): "cifar-10-batches-py",
        ("cifar10", False): "cifar-10-batches-bin",
        ("cifar100", True): "cifar-100-python",
        ("cifar100", False): "cifar-100-binary",
    }[name, is_pickled]
    return folder, files


def write_files(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


def write_archive(path, folder, files):
    """Writes a .tar.gz and returns its MD5."""
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return hashlib.md5(path.read_bytes()).hexdigest()
