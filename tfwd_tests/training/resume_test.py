"""A run whose files were damaged loses no more than was lost already.

Covers `resumption`.
"""

import os
import pathlib
import shutil

import pytest

from tfwd import train
from tfwd.training.checkpoint import checkpoint
from tfwd.training.config import columns
from tfwd.training.runs import curves
from tfwd.training.runs import lock as lock_lib
from tfwd_tests import file_events
from tfwd_tests.training import crashes
from tfwd_tests.training import runs

ARGUMENTS = [
    *("--epochs=3", "--hidden_layers=0", "--train_fraction=0.1"),
    *("--batch_size=64", "--steps_per_loop=3", "--output_dir=a"),
]
HEADER = ",".join(columns.COLUMNS)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folders of a run that ended after two epochs, and of a whole one."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        assert train.main(ARGUMENTS) == 0
        os.rename("a", "whole")
        save = crashes.crashing_after(checkpoint.Checkpoints.save, 3)
        patched.setattr(checkpoint.Checkpoints, "save", save)
        with pytest.raises(crashes.Crash):
            train.main(ARGUMENTS)
    return place


@pytest.fixture
def folder(stopped, tmp_path, monkeypatch):
    """A copy of the stopped run's folder, in the current one."""
    shutil.copytree(stopped / "a", tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    return pathlib.Path("a")


def contents(folder):
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name != lock_lib.NAME:
            with open(path, "rb") as file:
                found[str(path)] = file.read()
    return found


def check_refused(capsys, folder, *words):
    """Asserts one line with the words, exit code 2, and an untouched folder."""
    before = contents(folder)
    capsys.readouterr()
    assert train.main(ARGUMENTS) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not [word for word in words if word not in error], error
    assert contents(folder) == before


def tear(folder):
    for path in (folder / "checkpoints").glob("ckpt-*"):
        path.write_bytes(b"torn")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (tear, ["ckpt-", "cannot be read"]),
        (
            lambda folder: shutil.rmtree(folder / "checkpoints"),
            ["there is none beside metrics.csv, last.keras, best.keras"],
        ),
    ],
    ids=["torn", "gone"],
)
def test_run_with_progress_does_not_begin_anew(capsys, folder, damage, words):
    damage(folder)
    ways = ["--output_dir", "move this one away", "--resume=auto"]
    check_refused(capsys, folder, *words, *ways)


def test_checkpoints_that_may_not_be_read_now_are_left(
    capsys, folder, monkeypatch
):
    whole = pathlib.Path.open

    def opened(path, *arguments, **keywords):
        if path.name.startswith("ckpt-"):
            raise OSError(24, "Too many open files")
        return whole(path, *arguments, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(pathlib.Path, "open", opened)
        check_refused(capsys, folder, "Too many open files")
    assert train.main(ARGUMENTS) == 0


def test_folder_in_use_is_left_to_its_process(capsys, folder):
    held = lock_lib.Lock(folder)
    check_refused(capsys, folder, f"by process {os.getpid()} on ")
    held.release()
    assert train.main(ARGUMENTS) == 0


def without_a_row(text):
    lines = text.splitlines(keepends=True)
    return "".join([lines[0], *lines[2:]])


@pytest.mark.parametrize(
    ("damage", "epochs"),
    [
        (lambda text: text[:-5], ["1", "3"]),
        (without_a_row, ["2", "3"]),
        (lambda text: "", ["3"]),
        (lambda text: text[:20], ["3"]),
        (lambda text: "x,y\n1,2\n3,4\n", ["3"]),
        (lambda text: text.replace("step,", "first,"), ["3"]),
    ],
    ids=["torn", "row", "empty", "half header", "foreign", "column"],
)
def test_damaged_metrics_keep_their_whole_rows_and_stop_nothing(
    stopped, folder, damage, epochs
):
    path = folder / "metrics.csv"
    # The row of the third epoch is not in the checkpoint yet.
    damaged = damage(path.read_text())
    path.write_text(damaged)
    with pytest.warns(UserWarning, match="metrics.damaged-1.csv"):
        assert train.main(ARGUMENTS) == 0
    assert path.read_text().splitlines()[0] == HEADER
    whole = {row["epoch"]: row for row in runs.rows(stopped / "whole")}
    assert runs.rows(folder) == [whole[epoch] for epoch in epochs]
    assert (folder / "metrics.damaged-1.csv").read_text() == damaged
    for name, array in runs.weights(stopped / "whole").items():
        assert (runs.weights(folder)[name] == array).all(), name


def test_picture_that_fails_stops_nothing(folder, monkeypatch):
    def fail(*_):
        raise RuntimeError("no fonts")

    monkeypatch.setattr(curves, "draw", fail)
    with pytest.warns(UserWarning, match=r"A plot is missing \(no fonts\)"):
        assert train.main(ARGUMENTS) == 0
    assert (folder / "final.keras").exists()


@pytest.mark.parametrize("content", [b"", b"PK"])
def test_final_model_that_is_none_is_made_again(stopped, folder, content):
    assert train.main(ARGUMENTS) == 0
    (folder / "final.keras").write_bytes(content)
    assert train.main(ARGUMENTS) == 0
    crashes.assert_same(folder, stopped / "whole")


def test_run_goes_on_for_more_epochs_as_if_it_had_had_them_before(
    stopped, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    shorter = [*ARGUMENTS, "--epochs=2"]
    assert train.main(shorter) == 0
    assert train.main(ARGUMENTS) == 0
    crashes.assert_same(pathlib.Path("a"), stopped / "whole")
    flags = [
        (each / "flags.txt").read_text()
        for each in (pathlib.Path("a"), stopped / "whole")
    ]
    assert flags[0] == flags[1]
    capsys.readouterr()
    # The longer run is this one now, and complete.
    assert train.main(ARGUMENTS) == 0
    assert "a is complete" in capsys.readouterr().out
    assert train.main(shorter) == 2
    assert "--epochs=3, not --epochs=2" in capsys.readouterr().err


def test_run_whose_schedule_knows_its_end_cannot_go_on_longer(folder, capsys):
    flags = folder / "flags.txt"
    text = flags.read_text().replace("schedule=constant", "schedule=cosine")
    flags.write_text(text)
    before = contents(folder)
    longer = ["--epochs=4", "--schedule=cosine"]
    longer += ["--weight_decay_schedule=cosine"]
    assert train.main([*ARGUMENTS, *longer]) == 2
    error = capsys.readouterr().err
    assert "--epochs=3, not --epochs=4" in error
    assert "may grow where no schedule is cosine" in error
    assert "may change: strategy, num_devices" in error
    assert contents(folder) == before


def test_every_file_of_a_run_is_on_disk_before_it_has_its_name(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with file_events.recorded() as events:
        assert train.main(ARGUMENTS) == 0
    folder = tmp_path / "a"
    named = {event[2].name for event in events if event[0] == "rename"}
    synced = {event[1].name for event in events if event[0] == "sync"}
    assert {path.name for path in folder.rglob("*") if path.is_file()} <= {
        *named,
        *synced,
        lock_lib.NAME,
    }
    # After each of the three rows, the file is on disk.
    assert events.count(("sync", folder / "metrics.csv")) == 3
    # What is deleted goes after a rename that is on disk.
    for number, event in enumerate(events):
        if event[0] == "delete":
            kinds = [each[0] for each in events[:number]]
            last = len(kinds) - 1 - kinds[::-1].index("rename")
            assert ("sync", event[1].parent) in events[last:number]
