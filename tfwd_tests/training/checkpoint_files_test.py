"""What a folder of checkpoints holds: the newest ones, each of them whole."""

import contextlib
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfwd.training.checkpoint import checkpoint
from tfwd.training.checkpoint import progress as progress_lib
from tfwd.training.checkpoint import stored as stored_lib
from tfwd_tests import file_events


def counter(folder, keep=2, size=1, **arguments):
    """A function that saves a step in all variables; and the checkpoints."""
    variables = [
        keras.Variable(np.zeros(size), dtype="float32") for _ in range(4)
    ]
    made = checkpoint.Checkpoints(
        folder, keep, {"model": variables}, **arguments
    )

    def save(step):
        for variable in variables:
            variable.assign(tf.fill(variable.shape, float(step)))
        made.save(step, progress_lib.Progress(step=step))

    return save, made


def step_of_whole(stored):
    """The step of a checkpoint of `counter`, whose parts must agree."""
    step = stored.progress.step
    for array in stored.values["model"]:
        np.testing.assert_array_equal(array, np.full_like(array, step))
    assert stored_lib.order(stored.path.name)[0] == step
    return step


def test_only_the_newest_are_kept_also_across_restarts(tmp_path):
    for start in (0, 30, 60):
        save, _ = counter(tmp_path, keep=3)
        for step in (10, 20, 30):
            save(start + step)
    names = ["ckpt-70", "ckpt-80", "ckpt-90"]
    assert stored_lib.names(tmp_path) == names
    suffixes = (".data-00000-of-00001", ".index")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["checkpoint", *(name + each for name in names for each in suffixes)]
    )
    state = tf.train.get_checkpoint_state(tmp_path)
    assert [
        pathlib.Path(path).name
        for path in [
            *state.all_model_checkpoint_paths,
            state.model_checkpoint_path,
        ]
    ] == [*names, "ckpt-90"]


def test_same_step_again_replaces_the_checkpoint(tmp_path):
    save, checkpoints = counter(tmp_path, keep=2)
    save(10)
    for restores in range(1, 12):
        checkpoints.save(10, progress_lib.Progress(step=10, restores=restores))
        assert len(stored_lib.names(tmp_path)) == 1
        stored = stored_lib.read_newest(tmp_path)
        assert stored.progress.restores == restores
    save(20)
    assert stored_lib.names(tmp_path)[1] == "ckpt-20"


def test_steps_that_were_abandoned_do_not_pass_for_the_newest(tmp_path):
    save, _ = counter(tmp_path, keep=3)
    for step in (10, 20, 30):
        save(step)
    save(15)
    assert stored_lib.names(tmp_path) == ["ckpt-10", "ckpt-15"]
    assert step_of_whole(stored_lib.read_newest(tmp_path)) == 15


def test_unreadable_ones_are_set_aside_and_never_deleted(tmp_path):
    save, _ = counter(tmp_path)
    for step in (10, 20):
        save(step)
    (tmp_path / "ckpt-20.index").write_bytes(b"torn")
    data = (tmp_path / "ckpt-20.data-00000-of-00001").read_bytes()
    with pytest.warns(UserWarning, match="falling back to ckpt-10"):
        stored = stored_lib.read_newest(tmp_path)
    save, checkpoints = counter(tmp_path)
    checkpoints.restore(stored)
    save(15)
    save(20)
    assert stored_lib.names(tmp_path) == ["ckpt-15", "ckpt-20"]
    aside = tmp_path / "aside"
    assert (aside / "0-ckpt-20.index").read_bytes() == b"torn"
    assert (aside / "0-ckpt-20.data-00000-of-00001").read_bytes() == data
    assert len(list(aside.iterdir())) == 2


def test_crash_while_one_is_set_aside_loses_none_of_it(tmp_path, monkeypatch):
    save, _ = counter(tmp_path)
    for step in (10, 20):
        save(step)
    (tmp_path / "ckpt-20.index").write_bytes(b"torn")
    data = (tmp_path / "ckpt-20.data-00000-of-00001").read_bytes()
    rename = os.replace

    def crashing(source, target):
        rename(source, target)
        if pathlib.Path(target).parent.name == "aside":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", crashing)
        with pytest.raises(KeyboardInterrupt):
            save(15)
    save(17)
    contents = [path.read_bytes() for path in (tmp_path / "aside").iterdir()]
    assert sorted(contents) == sorted([data, b"torn"])


def test_old_one_goes_when_the_new_one_is_on_disk(tmp_path):
    save, _ = counter(tmp_path, keep=1)
    save(1)
    with file_events.recorded() as events:
        save(2)

    def place(*event):
        (found,) = [n for n, each in enumerate(events) if each == event]
        return found

    renamed = [
        place("rename", tmp_path / ".partial-ckpt-2" / f"ckpt{suffix}", target)
        for suffix in (".data-00000-of-00001", ".index")
        for target in [tmp_path / f"ckpt-2{suffix}"]
    ]
    syncs = [n for n, each in enumerate(events) if each == ("sync", tmp_path)]
    deleted = [
        place("delete", tmp_path / f"ckpt-1{suffix}")
        for suffix in (".index", ".data-00000-of-00001")
    ]
    assert renamed[0] < syncs[0] < renamed[1] < syncs[1] < deleted[0]
    assert deleted[0] < deleted[1]


def test_leftovers_of_an_interrupted_write_are_removed(tmp_path):
    save, _ = counter(tmp_path)
    save(1)
    (tmp_path / ".partial-ckpt-2").mkdir()
    (tmp_path / ".partial-ckpt-2" / "ckpt.index").write_text("half")
    (tmp_path / "ckpt-2_temp").mkdir()
    (tmp_path / "ckpt-2_temp" / "part-00000").write_text("half")
    (tmp_path / "ckpt-2.data-00000-of-00001").write_text("half")
    (tmp_path / "notes.txt").write_text("mine")
    save(3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint",
        *("ckpt-1.data-00000-of-00001", "ckpt-1.index"),
        *("ckpt-3.data-00000-of-00001", "ckpt-3.index"),
        "notes.txt",
    ]


def test_other_workers_write_nothing_to_the_folder(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    save, _ = counter(tmp_path / "run", is_chief=False)
    save(1)
    assert not (tmp_path / "run").exists()
    assert list(scratch.iterdir()) == []


@contextlib.contextmanager
def files_of_at_most(size):
    """A full disk: Python ignores SIGXFSZ, so writing fails with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 10_000])
@pytest.mark.parametrize("step", [10, 20], ids=["the same step", "the next"])
def test_full_disk_is_told_and_leaves_the_one_before(step, size, tmp_path):
    save, _ = counter(tmp_path, keep=1, size=10_000)
    save(10)
    with (
        files_of_at_most(size),
        pytest.raises(checkpoint.CheckpointWriteError) as error,
    ):
        save(step)
    text = str(error.value)
    assert text.startswith(
        f"Cannot write a checkpoint of step {step} to {tmp_path} ("
    )
    assert text.endswith("large); the newest complete one is ckpt-10")
    assert "\n" not in text
    assert step_of_whole(stored_lib.read_newest(tmp_path)) == 10
    assert {path.suffix for path in tmp_path.iterdir()} <= {
        *("", ".index", ".data-00000-of-00001")
    }
    assert len(list(tmp_path.iterdir())) == 3
    save(30)
    assert step_of_whole(stored_lib.read_newest(tmp_path)) == 30


def test_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("mine")
    for name in ("file", "file/below"):
        save, _ = counter(tmp_path / name)
        with pytest.raises(
            checkpoint.CheckpointWriteError, match="there is no earlier one"
        ):
            save(1)
    assert (tmp_path / "file").read_text() == "mine"


def test_folder_that_tensorflow_takes_for_a_pattern_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`--output_dir` must hold none of"):
        counter(tmp_path / "run[1]")
    save, _ = counter(tmp_path / "run {1} (a)\u00e9")
    save(1)
    stored = stored_lib.read_newest(tmp_path / "run {1} (a)\u00e9")
    assert step_of_whole(stored) == 1


def save_until_killed(folder, times):
    """Forks as often as that a process that saves, and kills it with SIGKILL.

    Each one first checks what the one before has left, and goes on from there.
    """
    generator = random.Random(5)
    parent = os.getpid()
    for _ in range(times):
        newest = stored_lib.names(folder)[-1:]
        child = os.fork()
        if child == 0:
            warnings.simplefilter("error")
            stored = stored_lib.read_newest(folder)
            step = step_of_whole(stored) if stored else 0
            save, _ = counter(folder, size=50_000)
            while os.getppid() == parent:
                step += 1
                save(step)
            os._exit(0)
        while stored_lib.names(folder)[-1:] == newest:
            if os.waitpid(child, os.WNOHANG)[0]:
                raise SystemExit("the process ended by itself")
            time.sleep(0.001)
        time.sleep(generator.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.many
def test_killed_at_any_moment_leaves_a_newest_one_that_is_whole(tmp_path):
    # Forked before TensorFlow has started its threads, hence a process apart.
    program = (
        "import pathlib, sys\n"
        "from tfwd_tests.training import checkpoint_files_test as here\n"
        "here.save_until_killed(pathlib.Path(sys.argv[1]), 5)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert step_of_whole(stored_lib.read_newest(tmp_path)) >= 5
    assert len(stored_lib.names(tmp_path)) <= 3
