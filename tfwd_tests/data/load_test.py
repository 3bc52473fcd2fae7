"""Every data set loads as described, or says in one line why not.

The command that it names (`preparation`) makes it.

Covers `digits`, `folder` and `source`.
"""

import hashlib
import io
import pathlib
import shlex
import socket
import tarfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn import datasets

from tfwd import data

REAL = pathlib.Path(__file__).parents[2] / ".." / "shared" / "data"


def require(name):
    if not (REAL / name).is_dir():
        pytest.skip(f"{name} is not in {REAL}")


def write_cifar100(data_dir, version, brightness):
    """Writes 6 training and 2 test images in TensorFlow Datasets' form."""
    folder = data_dir / "cifar100" / version
    folder.mkdir(parents=True)
    info = tfds.core.DatasetInfo(
        builder=tfds.core.DatasetIdentity(
            name="cifar100",
            version=version,
            data_dir=str(folder),
            module_name="",
        ),
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(32, 32, 3)),
                "label": tfds.features.ClassLabel(num_classes=100),
            }
        ),
        supervised_keys=("image", "label"),
    )
    labels = {"train": [5, 99, 0, 7, 42, 7], "test": [1, 98]}
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=4)
    writer.initialize_splits(list(labels))
    for split, numbers in labels.items():
        images = [np.full((32, 32, 3), brightness + n, "u1") for n in numbers]
        writer.add_examples(
            {
                split: [
                    {"image": image, "label": number}
                    for image, number in zip(images, numbers, strict=True)
                ]
            }
        )
    writer.close_all()


def test_the_digits_are_those_of_scikit_learn_each_in_one_split():
    splits = data.load("digits")
    assert splits.image_shape == splits.train.images.shape[1:] == (8, 8, 1)
    assert splits.train.images.dtype == np.float32
    assert splits.train.labels.dtype == np.int32
    assert (len(splits.train), len(splits.test)) == (1437, 360)
    parts = (splits.train, splits.test)
    pixels = np.concatenate([part.images.reshape(-1, 64) for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    loaded = np.column_stack([pixels * 16, labels])
    published = np.column_stack(datasets.load_digits(return_X_y=True))
    np.testing.assert_array_equal(
        loaded[np.lexsort(loaded.T)], published[np.lexsort(published.T)]
    )


def test_the_digits_for_testing_hold_every_class():
    splits = data.load("digits")
    assert np.bincount(splits.test.labels, minlength=10).min() >= 25
    assert splits.num_classes == 10


def test_the_newest_cifar100_in_a_folder_is_read(tmp_path):
    write_cifar100(tmp_path, "9.0.0", brightness=0)
    write_cifar100(tmp_path, "10.0.0", brightness=100)
    splits = data.load("cifar100", str(tmp_path), num_validation=2)
    assert splits.num_classes == 100
    assert splits.image_shape == (32, 32, 3)
    assert splits.train.images.dtype == np.uint8
    assert splits.train.labels.dtype == np.int32
    labels = np.concatenate([splits.train.labels, splits.validation.labels])
    assert sorted(labels) == [0, 5, 7, 7, 42, 99]
    assert sorted(splits.test.labels) == [1, 98]
    for part in (splits.train, splits.validation, splits.test):
        pixels = part.images.reshape(len(part), -1)
        np.testing.assert_array_equal(
            pixels, np.broadcast_to(100 + part.labels[:, None], pixels.shape)
        )


@pytest.mark.many
def test_mnist_is_read_from_the_shared_folder():
    require("mnist")
    splits = data.load("mnist", REAL)
    assert splits.train.images.shape == (60000, 28, 28, 1)
    assert splits.test.images.shape == (10000, 28, 28, 1)
    assert (splits.mean, splits.std) == ((0.0,), (1.0,))


@pytest.mark.many
def test_the_constants_of_cifar10_are_those_of_its_training_images():
    """Zhang et al.'s deviations are means of each image's (unbiased) one."""
    require("cifar10")
    splits = data.load("cifar10", REAL)
    images = splits.train.images.reshape(50, 1000, 1024, 3)
    mean = np.mean([part.mean(axis=(0, 1)) for part in images], axis=0) / 255
    deviations = [part.std(axis=1, ddof=1).mean(axis=0) for part in images]
    std = np.mean(deviations, axis=0) / 255
    # The published constants have four decimals.
    np.testing.assert_allclose(splits.mean, mean, atol=5e-5)
    np.testing.assert_allclose(splits.std, std, atol=5e-5)
    assert np.bincount(splits.test.labels).tolist() == [1000] * 10


def test_an_unknown_name_is_refused_with_the_names():
    with pytest.raises(ValueError) as error:
        data.load("svhn")
    assert str(error.value) == (
        "`name` must be one of digits, mnist, cifar10, cifar100, "
        "imagenet2012, ptb. Received: name=svhn"
    )


def test_the_splits_of_a_text_are_those_of_its_files(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"ptb.{split}.txt").write_text(" a b \n b a \n")
    loaded = data.load("ptb", tmp_path)
    assert loaded.name == "ptb"
    assert loaded.split_names == ("train", "validation", "test")
    with pytest.raises(ValueError, match="`num_validation` must be 0") as error:
        data.load("ptb", tmp_path, num_validation=1)
    assert str(error.value).endswith("Received: num_validation=1")


def test_a_missing_data_dir_is_refused_with_how_to_prepare_one():
    with pytest.raises(ValueError, match="tfds.load") as error:
        data.load("mnist")
    assert str(error.value).endswith("Received: data_dir=None")


def test_a_folder_without_the_data_set_is_named(tmp_path):
    (tmp_path / "cifar10" / "3.0.2").mkdir(parents=True)
    with pytest.raises(ValueError, match="tfds.load") as error:
        data.load("cifar10", tmp_path)
    assert f"searched {tmp_path / 'cifar10'};" in str(error.value)
    assert "\n" not in str(error.value)


def test_functions_of_a_data_set_are_its_methods_and_say_so():
    digits = data.load("digits")
    with pytest.warns(DeprecationWarning, match="is `source.training_steps"):
        from tfwd.data import training_steps
    assert training_steps(digits, 16) == digits.training_steps(16) == 90
    with pytest.warns(DeprecationWarning):
        evaluation_steps = data.evaluation_steps
    assert evaluation_steps(digits, split="test", batch_size=100) == 4
    with pytest.raises(AttributeError, match="no attribute 'batch'"):
        data.batch  # noqa: B018


URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"


def write_archive(path):
    """Writes 10 training and 2 test images in CIFAR-10's published form.

    The label of image n is n, and so are its pixels.
    """
    files = {f"data_batch_{n + 1}.bin": (2 * n, 2 * n + 1) for n in range(5)}
    files["test_batch.bin"] = (8, 9)
    raw = {file: record(*numbers) for file, numbers in files.items()}
    raw["batches.meta.txt"] = "\n".join("abcdefghij").encode()
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for file, content in raw.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{file}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def record(*numbers):
    return b"".join(bytes([number]) * (1 + 3 * 1024) for number in numbers)


def test_the_command_of_the_error_takes_an_archive_that_is_there(
    tmp_path, monkeypatch
):
    """Without a network, and not if its checksum is another."""

    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    data_dir = tmp_path / "it's here"
    archive = data_dir / "downloads" / "manual" / URL.rpartition("/")[2]
    write_archive(archive)
    with pytest.raises(ValueError) as error:
        data.load("cifar10", data_dir)
    assert f"makes it of {archive.name} in {archive.parent}," in str(
        error.value
    )
    python, c, program = shlex.split(str(error.value).split("`")[3])
    assert (python, c) == ("python", "-c")
    with pytest.raises(Exception, match="wrong checksum"):
        exec(program, {})
    raw = archive.read_bytes()
    checksum = hashlib.sha256(raw).hexdigest()
    sums = tfds.builder_cls("cifar10").url_infos
    published = type(sums[URL])(len(raw), checksum, archive.name)
    monkeypatch.setitem(sums, URL, published)
    exec(program, {})
    splits = data.load("cifar10", data_dir)
    assert sorted(splits.train.labels) == list(range(10))
    assert sorted(splits.test.labels) == [8, 9]
    pixels = splits.train.images.reshape(10, -1)
    assert (pixels == splits.train.labels[:, None]).all()
