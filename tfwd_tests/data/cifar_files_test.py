"""CIFAR's files are read, and pickles run nothing while they are."""

import pickle

import numpy as np
import pytest

from tfwd.data import cifar_files
from tfwd.data import sources
from tfwd_tests.data import published


def test_a_truncated_binary_is_refused():
    raw = bytes(2 * 3074)
    arrays = cifar_files.from_binary(raw, "train.bin", ("coarse", "fine"))
    assert arrays["image"].shape == (2, 32, 32, 3)
    for size in (0, 3074 + 17):
        with pytest.raises(ValueError, match=f"3074 bytes.*: {size} bytes$"):
            cifar_files.from_binary(raw[:size], "train.bin", "cf")


def test_a_truncated_pickle_is_refused():
    raw = published.pickled(
        {"data": np.zeros((2, 3072), "u1"), "labels": [0, 1]}
    )
    for size in (0, 10, len(raw) // 2, len(raw) - 1):
        with pytest.raises(ValueError, match="^test_batch must be a pickle"):
            cifar_files.from_pickle(
                raw[:size], "test_batch", {"label": "label"}
            )


class Evil:
    """Unpickled by anybody else, creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_is_refused_and_does_not_call(tmp_path, protocol):
    path = tmp_path / "created"
    raw = pickle.dumps({"data": Evil(path)}, protocol)
    with pytest.raises(ValueError, match=r"open, which is not admitted$"):
        cifar_files.unpickled(raw, "data_batch_1")
    assert not path.exists()
    pickle.loads(raw)["data"].close()
    assert path.exists()


@pytest.mark.parametrize(
    "content, reason",
    [
        ([1, 2], "dict with data"),
        ({"labels": [0]}, "dict with data"),
        ({"data": [0] * 3072, "labels": [0]}, "dict with data"),
        ({"data": np.zeros((1, 3072), "u1")}, "dict with labels"),
        ({"data": np.zeros((1, 784), "u1"), "labels": [0]}, r"\(1, 784\)"),
        ({"data": np.zeros((1, 3072), "f4"), "labels": [0]}, "array of bytes"),
        ({"data": np.zeros((1, 3072), "u1"), "labels": [256]}, r"\[256\]"),
        ({"data": np.zeros((1, 3072), "u1"), "labels": ["0"]}, r"\[b'0'\]"),
        ({"data": np.zeros((2, 3072), "u1"), "labels": [0]}, "2 images.*: 1$"),
        ({"data": np.zeros((1, 3072), "u1"), "labels": [0, 1]}, "1 images.*2$"),
    ],
)
def test_a_pickle_of_anything_else_is_refused(content, reason):
    with pytest.raises(ValueError, match=f"^file must .*{reason}"):
        cifar_files.from_pickle(
            published.pickled(content), "file", {"label": "label"}
        )


def test_an_array_stored_by_columns_is_read_by_rows():
    pixels = np.arange(2 * 3072, dtype="u1").reshape(2, 3072)
    content = {"data": np.asfortranarray(pixels), "labels": [0, 1]}
    arrays = cifar_files.from_pickle(
        published.pickled(content), "", {"label": "label"}
    )
    np.testing.assert_array_equal(
        published.channels_first(arrays["image"]), pixels
    )


@pytest.mark.parametrize("is_pickled", [False, True])
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_damaged_file_is_named_with_its_place(
    tmp_path, is_pickled, is_packed
):
    """The names of classes in Latin-1, and a file of the training set cut."""
    name = "cifar10"
    whole = published.random_splits(name)
    folder, files = published.cifar_folder(name, whole, is_pickled)
    names = "batches.meta" if is_pickled else "batches.meta.txt"
    data = "data_batch_4" if is_pickled else "data_batch_4.bin"
    for file, spoiled, reason in (
        (names, files[names].replace(b"label_3", b"\xe9abel_3"), "UTF-8.*0xe9"),
        (data, files[data][:-1], "must (be a pickle|hold records)"),
        (data, b"", "must (be a pickle|hold records)"),
    ):
        changed = {**files, file: spoiled}
        if is_packed:
            path = tmp_path / "cifar.tar.gz"
            md5 = {path.name: published.write_archive(path, folder, changed)}
            place = f"{path}/{folder}/{file}"
        else:
            path = published.write_files(tmp_path / folder, changed)
            md5, place = {}, str(path / file)
        with pytest.raises(ValueError, match=f"^{place} .*{reason}"):
            cifar_files.read(name, sources.Source(path, md5))
