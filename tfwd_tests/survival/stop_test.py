"""Signals, full disks, and workers that die or hang."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tfwd_tests import launching
from tfwd_tests.training import processes
from tfwd_tests.training import runs

# Under `nohup ... &` the tests themselves may have been told to ignore it.
FROM_A_TERMINAL = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def wait_for(path, text, seconds=180):
    """Waits until a file holds a text."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.02)
    raise TimeoutError(f"{path} does not say {text}")


@pytest.mark.parametrize(
    ("name", "number", "code"),
    [
        ("adams", signal.SIGINT, 130),
        pytest.param("sgds", signal.SIGTERM, 143, marks=pytest.mark.full),
        pytest.param("adais", signal.SIGTERM, 143, marks=pytest.mark.full),
        pytest.param("kfac", signal.SIGTERM, 143, marks=pytest.mark.full),
    ],
)
def test_run_that_is_stopped_goes_on_with_two_devices(
    tmp_path, name, number, code
):
    # Batch statistics are those of each replica.
    arguments = [*runs.OPTIMIZERS[name], "--nobatch_norm"]
    assert processes.finish(runs.start(tmp_path / "one", *arguments)) == 0

    process = runs.start(tmp_path / "two", *arguments)
    wait_for(tmp_path / "two.log", "Epoch 2")
    os.kill(process.pid, number)
    assert processes.finish(process) == code
    two = ["--strategy=mirrored", "--virtual_cpus=2", "--resume=must"]
    again = runs.start(tmp_path / "two", *arguments, *two)
    assert processes.finish(again) == 0
    assert (
        "Going on from the checkpoint of step"
        in (tmp_path / "two.log").read_text()
    )

    one, two = (runs.weights(tmp_path / each) for each in ("one", "two"))
    for path, array in one.items():
        if path.startswith("layers"):
            np.testing.assert_allclose(two[path], array, atol=1e-5)
    losses = [
        [float(row["test_loss"]) for row in runs.rows(tmp_path / each)]
        for each in ("one", "two")
    ]
    np.testing.assert_allclose(*losses, atol=1e-5)


@pytest.mark.parametrize("binary", ["tfwd.train", "tfwd.diagnose"])
def test_ctrl_c_while_it_starts_is_no_traceback(tmp_path, binary):
    flags = ["--model_file=none.keras", "--dataset=digits"]
    arguments = ["-m", binary, *(flags if "diag" in binary else [])]
    process = subprocess.Popen(
        [sys.executable, "-c", FROM_A_TERMINAL, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(launching.ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    maps = pathlib.Path(f"/proc/{process.pid}/maps")
    while "tensorflow" not in maps.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert (process.returncode, error) == (-signal.SIGINT, "")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_a_message_and_leaves_the_last_checkpoint(tmp_path):
    arguments = runs.OPTIMIZERS["adams"]
    process = runs.start(tmp_path / "a", *arguments)
    wait_for(tmp_path / "a.log", "Epoch 3")
    os.kill(process.pid, signal.SIGTERM)
    assert processes.finish(process) == 143

    process = runs.start(tmp_path / "a", *arguments, largest_file=12_000)
    assert processes.finish(process) == 1
    (line,) = [
        line
        for line in (tmp_path / "a.log").read_text().splitlines()
        if "checkpoints are as they were" in line
    ]
    assert "large" in line

    assert processes.finish(runs.start(tmp_path / "a", *arguments)) == 0
    assert processes.finish(runs.start(tmp_path / "b", *arguments)) == 0
    assert runs.rows(tmp_path / "a") == runs.rows(tmp_path / "b")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_worker_that_dies_or_hangs_ends_the_other(tmp_path, number):
    arguments = [
        *runs.OPTIMIZERS["sgds"],
        *("--strategy=multi_worker", "--epochs=1000", "--step_timeout=15"),
    ]
    chief, other = (
        processes.start(
            processes.train,
            [*runs.QUICK, *arguments, f"--output_dir={tmp_path / 'a'}"],
            cluster,
            log=tmp_path / f"{index}.log",
        )
        for index, cluster in enumerate(processes.clusters(2))
    )
    try:
        wait_for(tmp_path / "0.log", "Epoch 2")
        os.kill(other.pid, number)
        assert processes.finish(chief, seconds=180) == 1
    finally:
        other.kill()
    text = (tmp_path / "0.log").read_text()
    assert "worker" in text
    assert "Traceback" not in text

    alone = runs.start(
        tmp_path / "a", *arguments, "--strategy=default", "--resume=must"
    )
    wait_for(tmp_path / "a.log", "Going on from the checkpoint")
    alone.kill()
