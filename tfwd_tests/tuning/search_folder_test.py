"""Whose the folder of a search is."""

import datetime
import pathlib

import pytest

from tfwd.training.config import usage
from tfwd.tuning import search_folder
from tfwd_tests.tuning import plans
from tfwd_tests.tuning import small

DRAWN = ("--search=learning_rate=log:1e-3:1e-1", "--tuner=random")


def _claim(folder, *arguments):
    search_folder.claim(folder, plans.read(*arguments)).release()


def _files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*")}


def test_a_folder_without_a_name_is_named_after_the_search():
    now = datetime.datetime(2026, 11, 30, 17, 5, 3)
    flags = plans.read(*small.GRID, "--model=mlp")
    found = search_folder.path_of(flags, now)
    assert found == pathlib.Path("runs/tune-digits-mlp-20261130-170503")


def test_the_lines_replay_the_search(tmp_path):
    folder = tmp_path / "search"
    flags = plans.read(*small.GRID, f"--output_dir={folder}", "--resume=never")
    search_folder.claim(folder, flags).release()
    lines = (folder / "search.flags").read_text().splitlines()
    assert small.GRID[0] in lines and "--epochs=2" in lines
    assert not [line for line in lines if "output_dir" in line]
    again = plans.read(f"--flagfile={folder / 'search.flags'}")
    assert search_folder.lines(again) == search_folder.lines(flags)


def test_the_same_search_goes_on(tmp_path):
    _claim(tmp_path, *small.GRID)
    before = _files(tmp_path)
    _claim(tmp_path, *small.GRID)
    assert _files(tmp_path) == before


@pytest.mark.parametrize(
    "change",
    [
        "--max_trials=30",
        "--noretrain",
        "--keep_trials=all",
        "--checkpoint_every=3",
        "--tensorboard",
    ],
)
def test_what_no_trial_depends_on_may_change(tmp_path, change):
    _claim(tmp_path, *DRAWN)
    _claim(tmp_path, *DRAWN, change)
    assert change in (tmp_path / "search.flags").read_text() or (
        change == "--noretrain"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("--trials_per_cell=2", "--trials_per_cell=1, not"),
        ("--select_on=best", "--select_on=final, not"),
        ("--prune=median", "--prune=none, not"),
        ("--seed=1", "--seed=0, not"),
        ("--epochs=3", "--epochs=2, not"),
        ("--objective=validation_loss", "--objective=<unset>, not"),
        ("--link=weight_decay=1 / epochs", "--link=<unset>, not"),
        ("--search=momentum=choice:0.5,0.9", "momentum"),
    ],
)
def test_another_search_is_refused_and_nothing_changed(tmp_path, change, words):
    _claim(tmp_path, *DRAWN)
    before = _files(tmp_path)
    with usage.refusals(), pytest.raises(ValueError, match=words):
        _claim(tmp_path, *DRAWN, change)
    assert _files(tmp_path) == before


def test_the_order_of_what_is_searched_counts(tmp_path):
    _claim(tmp_path, *small.GRID)
    with pytest.raises(ValueError, match="search"):
        _claim(tmp_path, *small.GRID[::-1])


@pytest.mark.parametrize("name", ["flags.txt", "oracle.json", "trials.csv"])
def test_the_folder_of_something_else_is_refused(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=name):
        _claim(tmp_path, *small.GRID)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_is_held_by_one_search(tmp_path):
    held = search_folder.claim(tmp_path, plans.read(*small.GRID))
    try:
        with pytest.raises(ValueError, match="going on, by process"):
            _claim(tmp_path, *small.GRID)
    finally:
        held.release()


def test_a_worker_may_come_before_its_chief_but_not_to_another(tmp_path):
    flags = plans.read(*small.GRID)
    search_folder.check_same(tmp_path / "search", flags)
    _claim(tmp_path, *small.GRID)
    search_folder.check_same(tmp_path, flags)
    other = plans.read(*small.GRID, "--epochs=3")
    with pytest.raises(ValueError, match="--epochs=2, not --epochs=3"):
        search_folder.check_same(tmp_path, other)
