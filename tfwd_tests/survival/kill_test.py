"""A run that is killed at any moment and restarted is the run that was not.

Three kills of four come at random moments; every fourth, the first among them,
comes as soon as a half-written checkpoint is seen.
"""

import random
import time

import pytest

from tfwd_tests.training import crashes
from tfwd_tests.training import processes
from tfwd_tests.training import runs


def is_saving(folder):
    """Whether a checkpoint is half-written: temporary or without its index."""
    names = {path.name for path in folder.glob("*ckpt-*")}
    return any(
        name.startswith(".partial-ckpt-")
        or (
            ".data-" in name
            and f"{name.partition('.data-')[0]}.index" not in names
        )
        for name in names
    )


def kill(process, folder, generator, seconds, in_save):
    """Kills a process at a random moment, or in its next save after one."""
    time.sleep(generator.uniform(0, seconds * (0.5 if in_save else 1)))
    while in_save and process.is_alive() and not is_saving(folder):
        time.sleep(0.0002)
    process.kill()
    process.join()


def assert_same(folder, whole):
    crashes.assert_same(folder, whole)
    assert not [
        path
        for path in folder.rglob("*")
        if "partial" in path.name or "_temp" in path.name
    ]


@pytest.mark.parametrize(
    "kills",
    [2, pytest.param(20, marks=[pytest.mark.full, pytest.mark.kills])],
)
@pytest.mark.parametrize("name", runs.OPTIMIZERS)
def test_killed_and_restarted_gives_the_same_weights_and_rows(
    tmp_path, name, kills
):
    generator = random.Random(f"{name} {kills}")
    arguments = [*runs.OPTIMIZERS[name], "--deterministic", "--seed=3"]
    whole = tmp_path / "whole"
    begin = time.monotonic()
    assert processes.finish(runs.start(whole, *arguments)) == 0
    seconds = time.monotonic() - begin

    folder = tmp_path / "killed"
    count = 0
    while count < kills:
        begin = time.monotonic()
        process = runs.start(folder, *arguments)
        kill(
            process,
            folder / "checkpoints",
            generator,
            seconds,
            in_save=count % 4 == 0,
        )
        if process.exitcode == 0:
            # It came to its end before the kill: the next one begins anew.
            seconds = min(seconds, time.monotonic() - begin)
            assert_same(folder, whole)
            folder = tmp_path / f"killed{count}"
        else:
            count += 1
    assert processes.finish(runs.start(folder, *arguments)) == 0
    assert_same(folder, whole)
