"""A damaged file of a data set is named, with what is wrong in it.

Covers `records`.
"""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfwd import data
from tfwd.data import damage
from tfwd.data import imagenet
from tfwd_tests.data import folders

# TensorFlow quotes a record that it cannot parse, even if it is not UTF-8.
READ_ERRORS = (tf.errors.OpError, UnicodeDecodeError)


def check_refused(function, folder, file, *words):
    """Asserts one line with the file, what is wrong, and the remedy."""
    with pytest.raises(ValueError) as error:
        function()
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"`data_dir` must hold {folder.parent.name} ")
    assert f"move {folder} away" in text
    assert f'tfds.load("{folder.parent.name}", ' in text
    _, _, received = text.partition(f" Received: {folder / file}: ")
    for word in words:
        assert word in received


def test_a_folder_made_by_hand_is_read(tmp_path):
    folders.write(tmp_path)
    source = data.load("mnist", tmp_path)
    np.testing.assert_array_equal(source.train.labels, np.arange(6))
    np.testing.assert_array_equal(
        source.train.images[:, 3, 4, 0], 10 * np.arange(6)
    )
    np.testing.assert_array_equal(source.test.labels, [0, 1])
    assert source.num_classes == 10


FILES = [
    ("missing", lambda path: path.unlink(), "there is no such file"),
    ("empty", lambda path: path.write_bytes(b""), "it is empty"),
    (
        "cut",
        lambda path: folders.cut(path, 1),
        "record 2, at byte",
        "and the file ends after",
    ),
    (
        "cut within a header",
        lambda path: path.write_bytes(path.read_bytes() + b"\1\0\0"),
        "record 3, at byte",
        "cut off",
    ),
    (
        "not records",
        lambda path: path.write_bytes(b"no records, but a text " * 9),
        "record 0, at byte 0: its length is damaged",
    ),
    (
        "length",
        lambda path: folders.flip(path, byte=0),
        "record 1, at byte",
        "its length is damaged",
    ),
    *(
        (
            f"length {length}",
            lambda path, length=length: folders.set_length(path, length),
            "record 1, at byte",
            f"has {length} bytes, and the file ends after",
        )
        for length in (2**20, 2**40, 2**60, 2**64 - 1)
    ),
    (
        "huge length without its checksum",
        lambda path: folders.set_length(path, 2**60, with_checksum=False),
        "record 1, at byte",
        "its length is damaged",
    ),
    (
        "a record less",
        lambda path: folders.write_records(path, [b"x" * 99] * 2),
        "holds 2 records, not the 3 that dataset_info.json",
    ),
    (
        "a record more",
        lambda path: folders.write_records(path, [b""] * 4),
        "holds 4 records, not the 3 that dataset_info.json",
    ),
    ("folder", lambda path: (path.unlink(), path.mkdir()), ""),
]


@pytest.mark.parametrize("name", ["mnist", "imagenet2012"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [pytest.param(spoil, words, id=id) for id, spoil, *words in FILES],
)
def test_a_file_that_is_not_whole_is_named_before_training(
    tmp_path, name, spoil, words
):
    folder = folders.write(tmp_path, name)
    path = folders.shard(folder)
    spoil(path)
    load = {"mnist": lambda: data.load(name, tmp_path)}.get(
        name, lambda: imagenet.load(tmp_path)
    )
    check_refused(load, folder, path.name, *words)


RECORDS = [
    ("checksum", lambda path, _: folders.flip(path), "its checksum is wrong"),
    (
        "no example",
        lambda path, _: folders.replace(path, b"\xff\xffno example"),
        "it is no tf.train.Example",
    ),
    (
        "text",
        lambda path, _: folders.replace(path, b"no example at all"),
        "it is no tf.train.Example",
    ),
    (
        "nothing",
        lambda path, _: folders.replace(path, b""),
        "it has 0 values of the feature `image`, not 1",
    ),
    (
        "no label",
        lambda path, image: folders.replace(path, folders.example(image=image)),
        "it has 0 values of the feature `label`, not 1",
    ),
    (
        "a text as label",
        lambda path, image: folders.replace(
            path, folders.example(image=image, label=b"1")
        ),
        "it has 0 values of the feature `label`, not 1",
    ),
    (
        "no image",
        lambda path, _: folders.replace(path, folders.example(label=1)),
        "it has 0 values of the feature `image`, not 1",
    ),
    *(
        (
            f"label {label}",
            lambda path, image, label=label: folders.replace(
                path, folders.example(image=image, label=label)
            ),
            f"its label is {label}, which is not in 0..",
        )
        # 2**32 + 1 is 1 in 32 bits.
        for label in (-1, 1000, 2**32 + 1)
    ),
    (
        "image cut off",
        lambda path, image: folders.replace(
            path, folders.example(image=image[: len(image) // 2], label=1)
        ),
        "its image cannot be decoded",
    ),
    (
        "not an image",
        lambda path, _: folders.replace(
            path, folders.example(image=b"not an image", label=1)
        ),
        "its image cannot be decoded",
    ),
    (
        "empty image",
        lambda path, _: folders.replace(
            path, folders.example(image=b"", label=1)
        ),
        "its image cannot be decoded",
    ),
]


@pytest.mark.parametrize("name", ["mnist", "imagenet2012"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [pytest.param(spoil, words, id=id) for id, spoil, *words in RECORDS],
)
def test_a_record_that_cannot_be_read_is_named(tmp_path, name, spoil, words):
    """Images in memory are read when they are loaded, others in training."""
    folder = folders.write(tmp_path, name)
    path = folders.shard(folder)
    spoil(path, folders.image(name, 1))
    start = folders.starts(path.read_bytes())[1]
    place = f"record 1, at byte {start}: "

    def find():
        if name == "mnist":
            return data.load(name, tmp_path)
        return imagenet.load(tmp_path).find_damage()

    check_refused(find, folder, path.name, place, *words)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(spoil, id=id)
        for id, spoil, *_ in RECORDS
        if id in ("checksum", "no example", "label 4294967297", "empty image")
    ],
)
def test_neither_training_nor_evaluation_goes_on_over_damage(tmp_path, spoil):
    folder = folders.write(tmp_path, "imagenet2012")
    spoil(folders.shard(folder), folders.image("imagenet2012", 1))
    source = imagenet.load(tmp_path, image_size=8)
    for batches in (
        source.evaluation_batches("train", 6),
        source.training_batches(6, seed=0, augment=True),
    ):
        with pytest.raises(READ_ERRORS):
            next(iter(batches))


def test_what_is_no_jpeg_is_refused_without_a_line_of_the_decoder(
    tmp_path, capfd
):
    folder = folders.write(tmp_path, "imagenet2012")
    for other in (b"not an image", folders.image("mnist", 1)):
        record = folders.example(image=other, label=1)
        folders.replace(folders.shard(folder), record)
        source = imagenet.load(tmp_path, image_size=8)
        batches = source.training_batches(6, seed=0, augment=True)
        with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG"):
            next(iter(batches))
        with pytest.raises(ValueError, match=r"decoded \(Invalid JPEG data\)$"):
            source.find_damage()
    assert capfd.readouterr().err == ""


def test_an_image_of_another_size_is_named(tmp_path):
    folder = folders.write(tmp_path)
    other = tf.io.encode_png(np.zeros((28, 27, 1), np.uint8)).numpy()
    path = folders.shard(folder)
    folders.replace(path, folders.example(image=other, label=1))
    check_refused(
        lambda: data.load("mnist", tmp_path),
        folder,
        path.name,
        "record 1, at byte",
        "its image cannot be decoded",
    )


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    """Root may list every folder, so the refusal is TensorFlow's in name."""
    folders.write(tmp_path)

    def refuse(_):
        raise tf.errors.PermissionDeniedError(None, None, "Permission denied")

    monkeypatch.setattr(tf.io.gfile, "listdir", refuse)
    with pytest.raises(ValueError, match=r"mnist \(Permission denied\)$"):
        data.load("mnist", tmp_path)


def test_images_of_several_sizes_are_refused_with_their_folder(tmp_path):
    """Each of them is as described, and so no file is to blame."""
    folder = folders.write(tmp_path)
    features = folders.features("mnist")
    shape = features["featuresDict"]["features"]["image"]["image"]["shape"]
    shape["dimensions"] = ["-1", "-1", "1"]
    (folder / "features.json").write_text(json.dumps(features))
    other = tf.io.encode_png(np.zeros((28, 27, 1), np.uint8)).numpy()
    record = folders.example(image=other, label=1)
    folders.replace(folders.shard(folder), record)
    with pytest.raises(ValueError, match=f"Received: {folder}: it cannot"):
        data.load("mnist", tmp_path)


def test_nothing_is_found_in_a_folder_that_is_whole(tmp_path):
    folders.write(tmp_path, "imagenet2012")
    assert imagenet.load(tmp_path).find_damage() is None
    assert data.load("digits").find_damage() is None


def test_of_a_large_split_only_the_sizes_are_looked_at(tmp_path, monkeypatch):
    folder = folders.write(tmp_path, "imagenet2012")
    path = folders.shard(folder)
    folders.flip(path, byte=0)
    monkeypatch.setattr(damage, "WALKED_BYTES", 100)
    source = imagenet.load(tmp_path)
    check_refused(
        lambda: source.find_damage(), folder, path.name, "length is damaged"
    )
    folders.write_records(path, [b""])
    check_refused(
        lambda: imagenet.load(tmp_path), folder, path.name, "16 bytes"
    )


@pytest.mark.parametrize(
    "missing", ["dataset_info.json", "features.json", "mnist-train"]
)
def test_an_older_version_does_not_stand_in_for_a_broken_one(tmp_path, missing):
    older = folders.write(tmp_path, version="3.0.1")
    newer = folders.write(tmp_path, version="3.0.10")
    assert len(data.load("mnist", tmp_path).train) == 6
    for path in newer.glob(f"{missing}*"):
        path.unlink()
    file = {"mnist-train": folders.shard(newer, 0).name}.get(missing, missing)
    check_refused(
        lambda: data.load("mnist", tmp_path),
        newer,
        file,
        "there is no such file",
    )
    shutil.rmtree(newer)
    assert older.exists() and len(data.load("mnist", tmp_path).train) == 6


def test_a_description_that_claims_more_than_the_files_is_refused(tmp_path):
    folder = folders.write(tmp_path, "imagenet2012")
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text())
    info["splits"][0]["shardLengths"] = ["3", str(2**62)]
    path.write_text(json.dumps(info))
    check_refused(
        lambda: imagenet.load(tmp_path),
        folder,
        folders.shard(folder).name,
        f"too few for the {2**62} records that dataset_info.json tells",
    )
