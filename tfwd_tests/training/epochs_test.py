"""A run that ends at any of its writes, begun again, is as if it had not.

Covers `epoch_row`.
"""

import keras
import pytest

from tfwd import data
from tfwd import durable
from tfwd import train
from tfwd.training.checkpoint import checkpoint
from tfwd.training.runs import logs
from tfwd_tests.training import crashes

# The rate grows until rate times decay is 1, which wipes the weights out: the
# last epoch is not the best.
ARGUMENTS = [
    *("--epochs=4", "--hidden_units=8", "--train_fraction=0.2"),
    *("--batch_size=32", "--num_validation=100", "--steps_per_loop=3"),
    *("--optimizer=sgdw", "--warmup_epochs=4", "--nobatch_norm"),
    *("--learning_rate=0.4", "--weight_decay=2.5", "--momentum=0.5"),
]


def patch(monkeypatch, event, count):
    owner, name, condition = {
        "row": (logs.MetricsFile, "append", lambda *_: True),
        "checkpoint": (checkpoint.Checkpoints, "save", lambda *_: True),
        "last.keras": (durable, "replace", lambda p, _: p.name == "last.keras"),
        "best.keras": (durable, "replace", lambda p, _: p.name == "best.keras"),
    }[event]
    crashing = crashes.crashing_after(getattr(owner, name), count, condition)
    monkeypatch.setattr(owner, name, crashing)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing has ended."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train.main([*ARGUMENTS, f"--output_dir={folder}"]) == 0
    return folder


# Checkpoint and last.keras are written once before the first epoch as well;
# best.keras after epochs that are better than those before.
@pytest.mark.parametrize(
    ("event", "count"),
    [
        ("row", 3),
        ("checkpoint", 3),
        ("best.keras", 2),
        *(
            pytest.param(*each, marks=pytest.mark.many)
            for each in (
                ("checkpoint", 1),
                ("checkpoint", 5),
                ("last.keras", 3),
            )
        ),
    ],
)
def test_crash_after_a_write_changes_neither_rows_nor_weights(
    tmp_path, monkeypatch, whole, event, count
):
    command = [*ARGUMENTS, f"--output_dir={tmp_path / 'a'}"]
    with monkeypatch.context() as patched:
        patch(patched, event, count)
        with pytest.raises(crashes.Crash):
            train.main(command)
    assert train.main(command) == 0
    crashes.assert_same(tmp_path / "a", whole)


def test_best_model_is_that_of_the_best_row(whole):
    rows = logs.read(whole / "metrics.csv")
    best = max(rows, key=lambda row: row["validation_accuracy"])
    assert best is not rows[-1]
    model = keras.saving.load_model(whole / "best.keras")
    assert int(model.optimizer.iterations) == best["step"]
    held_out = data.load("digits", num_validation=100).validation
    _, accuracy = model.evaluate(held_out.images, held_out.labels, verbose=0)
    assert accuracy == pytest.approx(best["validation_accuracy"])


def test_cold_start_is_not_repeated_from_the_checkpoint_it_left(
    tmp_path, monkeypatch
):
    command = [
        *("--epochs=1", "--hidden_layers=0"),
        *("--train_fraction=0.1", "--optimizer=kfac", "--cold_start"),
    ]
    assert train.main([*command, f"--output_dir={tmp_path / 'whole'}"]) == 0
    with monkeypatch.context() as patched:
        patch(patched, "checkpoint", 1)
        with pytest.raises(crashes.Crash):
            train.main([*command, f"--output_dir={tmp_path / 'a'}"])
    assert train.main([*command, f"--output_dir={tmp_path / 'a'}"]) == 0
    # The refreshes of the inverses, which are saved, are counted.
    crashes.assert_same(tmp_path / "a", tmp_path / "whole")
