"""A search that is killed at random moments finds what a whole one finds."""

import random
import time

import pytest

from tfwd_tests.training import processes
from tfwd_tests.tuning import small

# The optimizers' own λ: AdamW's is a thousand times that of AdamS.
GRID = [
    "--search=optimizer=choice:adamw,adams",
    "--search=learning_rate=log:1e-3:1e-1:{count}",
    "--search=stable=log:1e-5:1e-2:{count}",
    "--link=weight_decay=optimizer_factor * stable",
    *("--deterministic", "--checkpoint_every=5"),
]
TWO_BY_TWO = pytest.param(2, 2)
# 50 cells.
FIVE_BY_FIVE = pytest.param(5, 12, marks=[pytest.mark.full, pytest.mark.kills])


def _start(folder, count, environment=()):
    flags = [flag.format(count=count) for flag in GRID]
    return processes.start(
        processes.tune,
        [*small.SMALL, *flags, f"--output_dir={folder}"],
        dict(environment),
        log=f"{folder}.log",
    )


@pytest.mark.parametrize(("count", "kills"), [TWO_BY_TWO, FIVE_BY_FIVE])
def test_killed_and_restarted_gives_the_same_trials(tmp_path, count, kills):
    generator = random.Random(count)
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    begin = time.monotonic()
    assert processes.finish(_start(whole, count), 600) == 0
    seconds = time.monotonic() - begin
    done = 0
    while done < kills:
        process = _start(folder, count)
        # Most of them within trials, some between two.
        time.sleep(generator.uniform(0.2, 1.5) * seconds / kills)
        process.kill()
        process.join()
        done += 1
    assert processes.finish(_start(folder, count), 600) == 0
    assert len(small.rows(whole)) == 2 * count**2
    assert small.rows(folder) == small.rows(whole)
    for name in ("best.flags", "heatmap.png"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("count", [TWO_BY_TWO.values[0]])
@pytest.mark.full
def test_two_workers_one_killed_twice_give_the_same_cells(tmp_path, count):
    whole, folder = tmp_path / "whole", tmp_path / "shared"
    assert processes.finish(_start(whole, count), 600) == 0
    environments = processes.search_environments(workers=2)
    chief, steady, killed = (
        _start(folder, count, environment) for environment in environments
    )
    for _ in range(2):
        time.sleep(4)
        killed.kill()
        killed.join()
        killed = _start(folder, count, environments[2])
    for process in (chief, steady, killed):
        assert processes.finish(process, 600) == 0
    assert small.rows(folder) == small.rows(whole)
