"""A damaged checkpoint is passed over with a warning, never half believed."""

import errno
import pathlib
import random
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfwd.training.checkpoint import checkpoint
from tfwd.training.checkpoint import progress as progress_lib
from tfwd.training.checkpoint import stored as stored_lib

DATA = ".data-00000-of-00001"


def written(folder, steps=(1, 2, 3)):
    """Checkpoints whose every number is the step."""
    variables = [
        keras.Variable(np.zeros((5, 3)), dtype="float32", name="kernel"),
        keras.Variable(np.zeros(4), dtype="bfloat16", name="half"),
        keras.Variable(0, dtype="int64", name="iterations", trainable=False),
    ]
    checkpoints = checkpoint.Checkpoints(folder, 5, {"model": variables})
    for step in steps:
        for variable in variables:
            variable.assign(tf.fill(variable.shape, step))
        checkpoints.save(
            step, progress_lib.Progress(step=step), {"state": tf.fill(2, step)}
        )
    return checkpoints


def check_whole(stored, step):
    assert stored.path.name == f"ckpt-{step}"
    assert stored.progress.step == step
    arrays = [*stored.values["model"], stored.extra["state"]]
    assert len(arrays) == 4
    for array in arrays:
        np.testing.assert_array_equal(array, np.full_like(array, step))


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


DAMAGES = {
    "flipped data": lambda path: flip(path.with_suffix(DATA), 7),
    "shorter data": lambda path: cut(path.with_suffix(DATA), 30),
    "no data": lambda path: path.with_suffix(DATA).unlink(),
    "flipped index": lambda path: flip(path.with_suffix(".index"), 20),
    "shorter index": lambda path: cut(path.with_suffix(".index"), 100),
    "empty index": lambda path: cut(path.with_suffix(".index"), 0),
    "text as index": lambda path: path.with_suffix(".index").write_text("no"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_checkpoint_gives_way_to_the_one_before(damage, tmp_path):
    written(tmp_path)
    damage(tmp_path / "ckpt-3")
    with pytest.warns(
        UserWarning,
        match=r"ckpt-3 cannot be read \(.+\); falling back to ckpt-2",
    ) as seen:
        stored = stored_lib.read_newest(tmp_path)
    assert len(seen) == 1
    assert "\n" not in str(seen[0].message)
    check_whole(stored, 2)
    assert stored.unreadable == ("ckpt-3",)


def test_any_flipped_bit_leaves_the_truth_or_the_one_before(tmp_path):
    written(tmp_path)
    generator = random.Random(1)
    fallbacks = 0
    for _ in range(100):
        path = tmp_path / f"ckpt-3{generator.choice(['.index', DATA])}"
        whole = path.read_bytes()
        data = bytearray(whole)
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(data)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            stored = stored_lib.read_newest(tmp_path)
        check_whole(stored, 2 if seen else 3)
        fallbacks += bool(seen)
        path.write_bytes(whole)
    # Some bits of the index carry nothing that is read.
    assert fallbacks > 90


def test_missing_index_is_an_interrupted_write_and_no_checkpoint(tmp_path):
    written(tmp_path)
    (tmp_path / "ckpt-3.index").unlink()
    check_whole(stored_lib.read_newest(tmp_path), 2)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b'model_checkpoint_path: "ck', b"no"]
)
def test_torn_list_of_checkpoints_changes_nothing(content, tmp_path):
    checkpoints = written(tmp_path)
    (tmp_path / "checkpoint").write_bytes(content)
    check_whole(stored_lib.read_newest(tmp_path), 3)
    checkpoints.save(4, progress_lib.Progress(step=4))
    assert len(stored_lib.names(tmp_path)) == 4
    assert tf.train.latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-4")


def test_no_readable_one_is_an_error_that_tells_of_the_newest(tmp_path):
    written(tmp_path)
    for step in (1, 2, 3):
        flip(tmp_path / f"ckpt-{step}{DATA}", 7)
    with pytest.raises(
        stored_lib.UnreadableError, match=r"ckpt-3 cannot be read \(.+\)$"
    ) as error:
        stored_lib.read_newest(tmp_path)
    assert "\n" not in str(error.value)
    assert stored_lib.names(tmp_path) == ["ckpt-1", "ckpt-2", "ckpt-3"]


def test_what_may_not_be_read_now_is_passed_over_as_well(tmp_path, monkeypatch):
    written(tmp_path)
    whole = pathlib.Path.open

    def opened(path, *arguments, **keywords):
        if path.name.startswith("ckpt-3.data"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return whole(path, *arguments, **keywords)

    monkeypatch.setattr(pathlib.Path, "open", opened)
    with pytest.warns(
        UserWarning,
        match=r"ckpt-3 cannot be read \(Permission denied\); falling back",
    ):
        check_whole(stored_lib.read_newest(tmp_path), 2)


def test_folder_that_cannot_be_listed_is_no_empty_one(tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(NotADirectoryError):
        stored_lib.read_newest(tmp_path / "checkpoints")


def test_folder_without_checkpoints_has_none(tmp_path):
    assert stored_lib.read_newest(tmp_path) is None
    assert stored_lib.read_newest(tmp_path / "missing") is None
    assert stored_lib.names(tmp_path / "missing") == []


def test_names_are_in_the_order_of_numbers(tmp_path):
    for name in ("ckpt-10", "ckpt-9", "ckpt-9-2", "ckpt-9-10", "ckpt-x", "a"):
        (tmp_path / f"{name}.index").touch()
    assert stored_lib.names(tmp_path) == [
        "ckpt-9",
        "ckpt-9-2",
        "ckpt-9-10",
        "ckpt-10",
    ]


def test_progress_of_another_version_is_an_error_and_no_fallback(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        progress_lib.Progress, "to_json", lambda self: '{"speed": 1}'
    )
    written(tmp_path, steps=(1,))
    with pytest.raises(ValueError, match=r"does not know.*\['speed'\]"):
        stored_lib.read_newest(tmp_path)
