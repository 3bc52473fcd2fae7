"""Files that a user has become the data sets that TensorFlow Datasets makes.

Covers `preparation`.
"""

import gzip
import hashlib
import socket

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfwd.data import catalog
from tfwd.data import preparation
from tfwd.data import prepare
from tfwd_tests.data import published


def check_written(name, splits, data_dir, sources):
    """Checks examples, ids, names and checksums of a written data set."""
    loaded = catalog.load(name, data_dir)
    (version,) = (data_dir / name).iterdir()
    builder = tfds.builder_from_directory(version)
    for split, arrays in splits.items():
        examples = getattr(loaded, split)
        rows, expected = (
            {
                (image.tobytes(), int(label))
                for image, label in zip(images, labels, strict=True)
            }
            for images, labels in (
                (examples.images, examples.labels),
                (arrays["image"], arrays["label"]),
            )
        )
        assert rows == expected
        assert len(examples) == published.SIZES[split]
        if "id" in builder.info.features:
            for example in tfds.as_numpy(builder.as_dataset(split=split)):
                prefix, number = example["id"].decode().split("_")
                assert prefix == split
                for key, values in arrays.items():
                    np.testing.assert_array_equal(
                        example[key], values[int(number)]
                    )
    for kind, words in published.names_of(name).items():
        if name != "mnist":
            assert builder.info.features[kind].names == words
    assert builder.info.metadata["sha256"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sources
    }
    assert not (data_dir / "downloads").exists()


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("is_packed", [False, True])
def test_mnist_goes_round(tmp_path, no_network, is_packed):
    splits = published.random_splits("mnist")
    files, md5 = published.mnist_files(splits), {}
    if is_packed:
        files = {
            f"{name}.gz": gzip.compress(raw) for name, raw in files.items()
        }
        md5 = {
            name: hashlib.md5(raw).hexdigest() for name, raw in files.items()
        }
    source = published.write_files(tmp_path / "source", files)
    out = tmp_path / "out"
    counts = published.counts_of("mnist", splits)
    written = preparation.prepare("mnist", source, out, counts, md5)
    assert written == str(out / "mnist" / "3.0.1")
    check_written("mnist", splits, out, source.iterdir())
    # And the library itself loads what was written.
    tfds.load("mnist", data_dir=out, download=False)


@pytest.mark.parametrize("is_pickled", [False, True])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_folder_of_cifar_goes_round(tmp_path, no_network, name, is_pickled):
    splits = published.random_splits(name)
    folder, files = published.cifar_folder(name, splits, is_pickled)
    source = published.write_files(tmp_path / folder, files)
    # Either the folder itself or the one that it was unpacked in.
    given = source if is_pickled else tmp_path
    counts = published.counts_of(name, splits)
    preparation.prepare(name, given, tmp_path / "out", counts)
    check_written(name, splits, tmp_path / "out", source.iterdir())


@pytest.mark.parametrize("is_pickled", [False, True])
def test_an_archive_of_cifar_goes_round(tmp_path, no_network, is_pickled):
    splits = published.random_splits("cifar10")
    archive = tmp_path / "renamed.tar.gz"
    md5 = published.write_archive(
        archive, *published.cifar_folder("cifar10", splits, is_pickled)
    )
    counts = published.counts_of("cifar10", splits)
    preparation.prepare(
        "cifar10",
        archive,
        tmp_path / "out",
        counts,
        {"other.tar.gz": "0", "cifar.tar.gz": md5},
    )
    check_written("cifar10", splits, tmp_path / "out", [archive])


def tiny(train=(0, 1, 1), images=3):
    """Splits of two classes and what they must hold."""
    splits = {
        split: {"image": np.zeros((images, 1)), "label": np.array(train)}
        for split in ("train", "test")
    }
    counts = {split: {"label": (1, 2)} for split in splits}
    return splits, counts


@pytest.mark.parametrize(
    "changed, reason",
    [
        ({"train": (0, 1, 2)}, "a label in 0..1 for each image. Received: 2$"),
        ({"train": (0, 0, 1)}, "1 images of label 0. Received: 2$"),
        ({"train": (0, 1), "images": 2}, "2 images of label 1. Received: 1$"),
        ({"images": 2}, "each of its 2 images. Received: 3$"),
    ],
)
def test_labels_out_of_range_or_number_are_refused(changed, reason):
    preparation.check(tiny()[0], {"label": ["a", "b"]}, tiny()[1])
    splits, counts = tiny(**changed)
    with pytest.raises(ValueError, match=f"^train must hold .*{reason}"):
        preparation.check(splits, {}, counts)


def test_what_is_not_the_data_set_is_named_with_its_folder(tmp_path):
    files = published.mnist_files(published.random_splits("mnist"))
    source = published.write_files(tmp_path / "source", files)
    with pytest.raises(ValueError, match=f"Received: [0-9] in {source}$"):
        preparation.prepare("mnist", source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_names_of_classes_are_refused():
    splits, counts = tiny()
    with pytest.raises(ValueError, match="2 classes of label. Received: 1$"):
        preparation.check(splits, {"label": ["a"]}, counts)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100"])
def test_the_published_counts_are_those_of_the_whole_data_set(name):
    train = 60000 if name == "mnist" else 50000
    for split, size in (("train", train), ("test", 10000)):
        kinds = preparation.COUNTS[name][split]
        assert {kind: len(counts) for kind, counts in kinds.items()} == (
            published.CLASSES[name]
        )
        assert {sum(counts) for counts in kinds.values()} == {size}


def test_an_existing_data_set_is_left_as_it_is(tmp_path):
    target = tmp_path / "mnist" / "3.0.1"
    published.write_files(target, {"mine": b"precious"})
    splits = published.random_splits("mnist")
    source = published.write_files(
        tmp_path / "source", published.mnist_files(splits)
    )
    with pytest.raises(ValueError, match="must not hold mnist/3.0.1 already"):
        preparation.prepare(
            "mnist", source, tmp_path, published.counts_of("mnist", splits)
        )
    assert [path.name for path in target.iterdir()] == ["mine"]
    assert (target / "mine").read_bytes() == b"precious"


class Interrupting:
    """Labels of which the second cannot be had."""

    def __init__(self, error):
        self.error = error

    def __getitem__(self, number):
        if number == 1:
            raise self.error
        return 0


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_what_is_interrupted_leaves_no_data_set(tmp_path, error):
    splits = published.random_splits("mnist")
    splits["test"]["label"] = Interrupting(error)
    with pytest.raises(type(error)):
        preparation.write("mnist", splits, {}, {}, tmp_path)
    assert not list(tmp_path.glob("*/*"))


def test_what_a_killed_process_leaves_is_not_taken_for_a_data_set(tmp_path):
    published.write_files(
        tmp_path / "mnist" / "incomplete.ABCDEF_3.0.1",
        {"dataset_info.json": b"{}"},
    )
    with pytest.raises(ValueError, match="`data_dir` must hold mnist"):
        catalog.load("mnist", tmp_path)


def test_the_binary_writes_and_then_refuses_to_overwrite(
    tmp_path, monkeypatch, capsys
):
    splits = published.random_splits("mnist")
    source = published.write_files(
        tmp_path / "source", published.mnist_files(splits)
    )
    counts = {"mnist": published.counts_of("mnist", splits)}
    monkeypatch.setattr(preparation, "COUNTS", counts)
    arguments = [
        "--dataset=mnist",
        f"--source={source}",
        f"--data_dir={tmp_path / 'out'}",
    ]
    assert prepare.main(arguments) == 0
    assert (
        len(catalog.load("mnist", tmp_path / "out").train)
        == published.SIZES["train"]
    )
    assert str(tmp_path / "out" / "mnist" / "3.0.1") in capsys.readouterr().out
    assert prepare.main(arguments) == 2
    error = capsys.readouterr().err
    assert "nothing is overwritten" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--source=x", "--data_dir=y"], "`dataset` must be given"),
        (["--dataset=mnist", "--source=x"], "`data_dir` must be given"),
        (["--dataset=mnist", "--data_dir=y"], "`source` must be given"),
        (
            ["--dataset=mnist", "--data_dir=y", "--source=x", "--download"],
            "`source` must be given, or `download` in its place",
        ),
        (["--dataset=svhn"], "dataset"),
        (["--data_set=mnist"], "data_set"),
        (["mnist"], "Every argument must be a flag"),
        (
            ["--dataset=mnist", "--data_dir=y", "--source=no/where"],
            "`source` must be a folder. Received: source=no/where",
        ),
        (
            ["--dataset=cifar10", "--data_dir=y", "--source=no/where"],
            "a folder or cifar-10-python.tar.gz or cifar-10-binary.tar.gz",
        ),
        (
            ["--dataset=cifar100", "--data_dir=y", "--source=."],
            "cifar-100-python/train or cifar-100-binary/train.bin",
        ),
    ],
)
def test_the_binary_refuses_bad_input_in_one_line(
    arguments, reason, capsys, tmp_path, monkeypatch, no_network
):
    monkeypatch.chdir(tmp_path)
    assert prepare.main(arguments) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_binary_prints_its_flags(capsys):
    assert prepare.main(["--help"]) == 0
    assert "--source" in capsys.readouterr().out


def test_only_download_asks_the_library_to_download(tmp_path, monkeypatch):
    calls = []

    def load(name, **kwargs):
        calls.append((name, kwargs))
        builder = tfds.builder_cls("mnist")(data_dir=tmp_path)
        return {}, builder.info

    monkeypatch.setattr(tfds, "load", load)
    arguments = ["--dataset=mnist", f"--data_dir={tmp_path}"]
    assert prepare.main([*arguments, "--source=no/where"]) == 2
    assert not calls
    assert prepare.main([*arguments, "--download"]) == 0
    ((name, kwargs),) = calls
    assert name == "mnist"
    assert kwargs == {
        "data_dir": str(tmp_path),
        "download": True,
        "with_info": True,
    }
