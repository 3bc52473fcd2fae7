"""A search that is killed at any moment ends like one that was not.

Covers `worker` and `chief`.
"""

import os
import random
import signal
import time

import pytest

from tfwd_tests.training import processes
from tfwd_tests.tuning import fake_search

SEEDS = (0, 1)
# Of a step; a run has three or more.
SECONDS = 0.01


def start(folder, kind="grid", environment=(), seconds=SECONDS):
    """Starts a process of a search, which is loaded afterwards."""
    log = folder.with_suffix(".log")
    log.touch()
    begun = log.read_text().count("begun")
    process = processes.start(
        fake_search.process,
        folder,
        kind,
        seconds,
        dict(environment),
        SEEDS,
        log=log,
    )
    while process.is_alive() and log.read_text().count("begun") == begun:
        time.sleep(0.005)
    return process


def is_writing(folder):
    return any(folder.rglob(".partial*"))


def kill(process, folder, seconds, in_write):
    """Kills after a time, then perhaps in the next write."""
    time.sleep(seconds)
    while in_write and process.is_alive() and not is_writing(folder):
        pass
    process.kill()
    process.join()


@pytest.mark.parametrize(
    "kills", [2, pytest.param(40, marks=[pytest.mark.full, pytest.mark.kills])]
)
@pytest.mark.parametrize("kind", ["grid", "random", "hyperband"])
def test_killed_search_has_the_same_trials(tmp_path, kind, kills):
    whole = tmp_path / "whole"
    fake_search.search(whole, kind, seeds=SEEDS)
    expected = fake_search.results(whole, kind, seeds=SEEDS)
    generator = random.Random(f"{kind} {kills}")
    folder, count, rounds = tmp_path / "killed0", 0, 0
    while count < kills:
        process = start(folder, kind)
        kill(process, folder, generator.uniform(0, 0.4), count % 2)
        if process.exitcode == 0:
            assert fake_search.results(folder, kind, seeds=SEEDS) == expected
            rounds += 1
            folder = tmp_path / f"killed{rounds}"
        else:
            assert process.exitcode == -signal.SIGKILL
            count += 1
    assert processes.finish(start(folder, kind, seconds=0.0)) == 0
    assert fake_search.results(folder, kind, seeds=SEEDS) == expected
    assert not list(folder.rglob(".partial*.json"))


def expected_of_grid(tmp_path):
    fake_search.search(tmp_path / "whole", seeds=SEEDS)
    return fake_search.results(tmp_path / "whole", seeds=SEEDS)


def test_chief_and_workers_have_the_trials_of_one_process(tmp_path):
    chief, *workers = processes.search_environments(2)
    folder = tmp_path / "s"
    started = [start(folder, environment=each) for each in (*workers, chief)]
    assert [processes.finish(one, 60) for one in started] == [0] * 3
    results = fake_search.results(folder, seeds=SEEDS)
    assert results == expected_of_grid(tmp_path)
    assert (folder / "tuner0.json").exists()


@pytest.mark.full
def test_killed_workers_and_chief_cost_no_trial(tmp_path):
    """A worker is killed twice and replaced, the chief once."""
    chief, first, second = processes.search_environments(2)
    folder = tmp_path / "s"
    generator = random.Random(1)
    chief_process = start(folder, environment=chief)
    other = start(folder, environment=second, seconds=0.15)
    for _ in range(2):
        worker = start(folder, environment=first, seconds=0.15)
        kill(worker, folder, generator.uniform(0.3, 0.7), False)
        assert worker.exitcode == -signal.SIGKILL
    worker = start(folder, environment=first, seconds=0.15)
    kill(chief_process, folder, generator.uniform(0.1, 0.4), True)
    assert chief_process.exitcode == -signal.SIGKILL
    chief_process = start(folder, environment=chief)
    codes = [
        processes.finish(one, 60) for one in (worker, other, chief_process)
    ]
    assert codes == [0] * 3
    results = fake_search.results(folder, seeds=SEEDS)
    assert results == expected_of_grid(tmp_path)


@pytest.mark.full
def test_trial_of_a_dead_worker_is_taken_over(tmp_path):
    chief, first, second = processes.search_environments(2)
    folder = tmp_path / "s"
    chief_process = start(folder, environment=chief)
    dead = start(folder, environment=first, seconds=5.0)
    while not list(folder.glob("trial_0/seed_0")):
        time.sleep(0.01)
    kill(dead, folder, 0, False)
    worker = start(folder, environment=second)
    assert processes.finish(worker, 60) == processes.finish(chief_process) == 0
    results = fake_search.results(folder, seeds=SEEDS)
    assert results == expected_of_grid(tmp_path)


@pytest.mark.full
def test_worker_that_was_thought_dead_is_not_disturbed(tmp_path):
    """It stands still for longer than the chief waits, then goes on."""
    chief, first, second = processes.search_environments(2)
    folder = tmp_path / "s"
    chief_process = start(folder, environment=chief)
    still = start(folder, environment=first, seconds=0.1)
    while not list(folder.glob("trial_0/seed_0")):
        time.sleep(0.01)
    os.kill(still.pid, signal.SIGSTOP)
    try:
        worker = start(folder, environment=second, seconds=0.0)
        time.sleep(4)
        # It waits for the trial that the other one has locked.
        assert worker.is_alive() and chief_process.is_alive()
        assert not (folder / "trial_0" / "seed_0.json").exists()
    finally:
        os.kill(still.pid, signal.SIGCONT)
    assert processes.finish(worker, 60) == processes.finish(chief_process) == 0
    assert processes.finish(still, 60) == 0
    results = fake_search.results(folder, seeds=SEEDS)
    assert results == expected_of_grid(tmp_path)


def test_second_chief_at_the_same_port_is_refused(tmp_path):
    (chief,) = processes.search_environments(0)
    one = start(tmp_path / "a", environment=chief)
    while not (tmp_path / "a" / "tuner0.json").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    other = start(tmp_path / "b", environment=chief)
    assert processes.finish(other, 30) == 1
    one.kill()
    text = (tmp_path / "b.log").read_text()
    assert "`KERASTUNER_ORACLE_PORT` must be of this machine and free" in text


def test_chief_with_a_full_disk_ends_and_so_do_its_workers(tmp_path):
    chief, worker = processes.search_environments(1)
    folder = tmp_path / "s"
    one = start(folder, environment=chief)
    other = start(folder, environment=worker, seconds=0.2)
    while not (folder / "trial_0" / "seed_0").exists():
        time.sleep(0.01)
    # No folder can be made of this name.
    (folder / "trial_1").write_text("in the way")
    assert processes.finish(one, 30) == processes.finish(other, 30) == 1
    assert (
        "ChiefError: the chief at 127.0.0.1"
        in folder.with_suffix(".log").read_text()
    )
