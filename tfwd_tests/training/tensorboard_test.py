"""TensorBoard, which reads the event files of a run while it goes on.

Covers `tensorflow_events`.
"""

import pathlib

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing import plugin_event_accumulator

from tfwd import train
from tfwd.diagnostics import table
from tfwd.diagnostics.backend import tensorflow_events
from tfwd.training.checkpoint import checkpoint
from tfwd.training.runs import logs
from tfwd_tests.training import crashes

# 3 steps in each of three epochs.
RUN = [
    *("--hidden_units=4", "--hidden_layers=1", "--train_fraction=0.05"),
    *("--batch_size=32", "--epochs=3", "--tensorboard", "--output_dir=a"),
    *("--diagnostics=effective_learning_rate", "--log_every=2"),
]
OWN = plugin_event_accumulator.EventAccumulator
BOARDS = pathlib.Path("a/tensorboard")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Reader:
    """A reader of a folder, which stays open over a run.

    The default one knows nothing of what is void, TensorBoard's own does.
    """

    def __init__(self, folder, kind=event_accumulator.EventAccumulator):
        self._folder = folder
        self._kind = kind
        self._events = None

    def points(self, tag):
        """{step: value} that it sees now; each step once."""
        if self._events is None:
            self._events = self._kind(str(self._folder))
        self._events.Reload()
        try:
            events = self._events.Tensors(tag)
        except KeyError:
            return {}
        found = {
            event.step: float(event.tensor_proto.float_val[0])
            for event in events
        }
        assert len(found) == len(events)
        return found


def seen_at_checkpoints(monkeypatch, *kind):
    """Lists of the steps that readers see whenever a checkpoint is saved."""
    seen = {name: [] for name in ("metrics", "diagnostics", "steps")}
    readers = {name: Reader(BOARDS / name, *kind) for name in seen}
    tags = dict.fromkeys(seen, "train_loss")
    tags["diagnostics"] = "weight_norm/logits"
    save = checkpoint.Checkpoints.save

    def saving(*arguments):
        for name, reader in readers.items():
            seen[name].append(list(reader.points(tags[name])))
        save(*arguments)

    monkeypatch.setattr(checkpoint.Checkpoints, "save", saving)
    return readers, seen


def check_all_rows(readers):
    rows = logs.read(pathlib.Path("a/metrics.csv"))
    assert len(rows) == 3
    for column in ("train_loss", "test_accuracy", "learning_rate"):
        expected = {row["step"]: row[column] for row in rows}
        assert readers["metrics"].points(column) == pytest.approx(
            expected, rel=1e-6
        )
    rows = logs.read(pathlib.Path("a/steps.csv"))
    assert len(rows) == 4
    assert readers["steps"].points("train_loss") == pytest.approx(
        {row["step"]: row["train_loss"] for row in rows}, rel=1e-6
    )
    rows = table.read("a/diagnostics.csv")
    rows = [row for row in rows if row["layer"] == "logits"]
    assert len(rows) == 4
    assert readers["diagnostics"].points("weight_norm/logits") == pytest.approx(
        {row["step"]: row["weight_norm"] for row in rows}, rel=1e-6
    )


def test_reader_sees_each_epoch_when_it_has_ended(monkeypatch):
    readers, seen = seen_at_checkpoints(monkeypatch)
    assert train.main(RUN) == 0
    # At the start, and at the end of each epoch.
    assert seen["metrics"] == [[], [3], [3, 6], [3, 6, 9]]
    assert seen["diagnostics"] == [[0], [0, 3], [0, 3, 6], [0, 3, 6, 9]]
    assert seen["steps"] == [[], [2], [2, 4, 6], [2, 4, 6, 8]]
    check_all_rows(readers)


@pytest.mark.parametrize(
    ("count", "more"),
    [
        pytest.param(1, [], id="before the first epoch"),
        pytest.param(2, ["--checkpoint_every=2"], id="in an epoch"),
        pytest.param(3, [], id="after one", marks=pytest.mark.many),
        pytest.param(
            *(3, ["--checkpoint_every=3"]),
            id="at the end of one",
            marks=pytest.mark.many,
        ),
    ],
)
def test_reader_of_a_resumed_run_sees_each_step_once(monkeypatch, count, more):
    with monkeypatch.context() as patched:
        readers, seen = seen_at_checkpoints(patched, OWN)
        save = crashes.crashing_after(checkpoint.Checkpoints.save, count)
        patched.setattr(checkpoint.Checkpoints, "save", save)
        with pytest.raises(crashes.Crash):
            train.main([*RUN, *more])
    assert len(seen["metrics"]) == count
    # What was written after the checkpoint is void.
    assert train.main([*RUN, *more]) == 0
    check_all_rows(readers)


def test_row_behind_the_checkpoint_is_void_for_the_reader(monkeypatch):
    save = checkpoint.Checkpoints.save
    with monkeypatch.context() as patched:
        readers, _ = seen_at_checkpoints(patched, OWN)

        def crash(self, step, *arguments):
            if step == 6:
                raise crashes.Crash
            save(self, step, *arguments)

        patched.setattr(checkpoint.Checkpoints, "save", crash)
        with pytest.raises(crashes.Crash):
            train.main(RUN)
    assert list(readers["metrics"].points("train_loss")) == [3, 6]
    assert list(readers["diagnostics"].points("weight_norm/logits")) == [
        0,
        3,
        6,
    ]
    assert train.main(RUN) == 0
    check_all_rows(readers)


@pytest.mark.parametrize("fault", [RuntimeError, None])
def test_files_are_closed_at_the_end(monkeypatch, fault):
    opened, closed = [], []
    init = tensorflow_events.EventFile.__init__
    close = tensorflow_events.EventFile.close

    def opening(self, *arguments):
        init(self, *arguments)
        opened.append(self)

    def closing(self):
        close(self)
        closed.append(self)

    monkeypatch.setattr(tensorflow_events.EventFile, "__init__", opening)
    monkeypatch.setattr(tensorflow_events.EventFile, "close", closing)
    if fault:

        def fail(*arguments):
            raise fault

        monkeypatch.setattr(checkpoint.Checkpoints, "save", fail)
        with pytest.raises(fault):
            train.main(RUN)
    else:
        assert train.main(RUN) == 0
    assert len(opened) == 3
    assert set(map(id, opened)) == set(map(id, closed))


def test_new_file_comes_behind_those_of_a_clock_that_is_ahead(tmp_path):
    ahead = tmp_path / "events.out.tfevents.4000000000.host.1.v2"
    ahead.write_bytes(b"")
    for step in (1, 2):
        file = tensorflow_events.EventFile(tmp_path, first_step=step)
        file.append(step, {"loss": 0.5})
        file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] == ahead.name
    assert [name.split(".")[3] for name in names[1:]] == [
        "4000000001",
        "4000000002",
    ]
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Tensors("loss")] == [1, 2]


def test_numbers_are_scalars_with_all_that_a_float32_holds(tmp_path):
    file = tensorflow_events.EventFile(tmp_path)
    file.append(7, {"loss": 1 / 3, "accuracy": np.float64(0.1)})
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert events.PluginTagToContent("scalars").keys() == {"loss", "accuracy"}
    (event,) = events.Tensors("loss")
    assert event.step == 7
    assert event.tensor_proto.float_val[0] == np.float32(1 / 3)
    file.close()
