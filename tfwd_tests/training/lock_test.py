"""A folder is held by one process, until that ends in whatever way."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from tfwd.training.runs import lock as lock_lib

PROGRAM = """
import importlib.util, pathlib, sys, time

spec = importlib.util.spec_from_file_location("lock", sys.argv[1])
lock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lock)
held = lock.Lock(pathlib.Path(sys.argv[2]))
print("held", flush=True)
time.sleep(60)
"""


def test_second_holder_is_told_who_the_first_is(tmp_path):
    held = lock_lib.Lock(tmp_path)
    with pytest.raises(lock_lib.HeldError) as error:
        lock_lib.Lock(tmp_path)
    assert str(error.value).startswith(f"process {os.getpid()} on ")
    held.release()
    held.release()
    lock_lib.Lock(tmp_path).release()


def test_released_folder_is_left_as_it_was_and_a_deleted_file_locks_nothing(
    tmp_path, monkeypatch
):
    lock_lib.Lock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []
    # The one before lets go between the opening and the locking of this one.
    before = lock_lib.Lock(tmp_path)
    lock, calls = fcntl.flock, []

    def locked(descriptor, operation):
        calls.append(descriptor)
        if len(calls) == 1:
            before.release()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", locked)
    held = lock_lib.Lock(tmp_path)
    assert len(calls) == 2
    with pytest.raises(lock_lib.HeldError):
        lock_lib.Lock(tmp_path)
    held.release()


def test_lock_of_another_process_goes_when_that_is_killed(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, lock_lib.__file__, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(lock_lib.HeldError, match=f"process {process.pid} "):
            lock_lib.Lock(tmp_path)
    finally:
        process.kill()
        process.communicate()
    lock_lib.Lock(tmp_path).release()


def test_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match=r"has no locks \(No locks available"):
        lock_lib.Lock(tmp_path).release()
