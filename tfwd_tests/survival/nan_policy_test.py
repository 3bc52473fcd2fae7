"""What the binary does when numbers stop being numbers: --on_nan."""

import pathlib
import re

import keras
import numpy as np
import pytest

from tfwd import data
from tfwd import train
from tfwd.training.checkpoint import stored
from tfwd.training.loop import loop as loop_lib
from tfwd.training.runs import logs

# 108 steps of an epoch, in which a weight that each one multiplies by -2.8
# leaves float32 behind. Linear, so that gradients stay bounded; by L2, whose
# step may go past zero.
LINEAR = [
    *("--epochs=2", "--batch_size=4", "--train_fraction=0.3"),
    *("--hidden_layers=0", "--nobatch_norm", "--optimizer=sgd"),
    *("--momentum=0", "--weight_decay=1000", "--output_dir=a"),
]
STEPS = 108
# Rate times decay is 3.8 or 7.6: the factors of a step are 1 - 3.8 = -2.8 and
# 1 - 7.6 = -6.6; after one halving or two they are 1 - 1.9 = -0.9.
ONCE, TWICE = 3.8e-3, 7.6e-3
QUICK = [
    *("--epochs=2", "--hidden_units=8", "--train_fraction=0.1"),
    *("--batch_size=32", "--output_dir=a"),
]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows():
    return logs.read(pathlib.Path("a/metrics.csv"))


def spoil(monkeypatch, value):
    """Makes all pixels of the digits one value."""
    loaded = data.load("digits", train_fraction=0.1)
    images = np.full(loaded.train.images.shape, value, np.float32)
    examples = data.Examples(images, loaded.train.labels)
    spoilt = data.Splits(
        **{**vars(loaded), "train": examples, "test": examples}
    )
    monkeypatch.setattr(data, "load", lambda *args, **kwargs: spoilt)


def test_diverging_weights_stop_the_run_with_step_and_tensor(capsys):
    assert train.main([*LINEAR, f"--learning_rate={TWICE}"]) == 2
    error = capsys.readouterr().err
    (step,) = re.findall(r"not finite in step (\d+);", error)
    # 6.6^47 is 3e38, the largest float32; the first weights are near 0.1, and
    # the penalty's gradient, 1000 times them, is infinite first.
    assert 44 <= int(step) <= 48
    tensor = "gradient of logits/kernel with its L2 penalty"
    assert f"first such tensor: {tensor}" in error
    assert "a/last.keras" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "tensor"), [(np.nan, "inputs"), (3e38, "output of hidden1")]
)
def test_data_that_are_or_become_no_numbers_stop_the_first_step(
    monkeypatch, capsys, value, tensor
):
    spoil(monkeypatch, value)
    assert train.main([*QUICK, "--nobatch_norm"]) == 2
    error = capsys.readouterr().err
    assert f"not finite in step 1; the first such tensor: {tensor};" in error
    assert error.count("\n") == 1
    model = keras.saving.load_model("a/last.keras")
    assert int(model.optimizer.iterations) == 0
    assert rows() == []


def assert_halved(out, times):
    for number in (1, 2, 3):
        line = (
            "Going on from the checkpoint of step 0 with half the learning "
            f"rate ({number} of 3)"
        )
        assert out.count(line) == (number <= times)


def test_rate_is_halved_and_the_run_comes_to_its_end(capsys):
    arguments = ["--on_nan=restore", f"--learning_rate={ONCE}"]
    assert train.main([*LINEAR, *arguments]) == 0
    assert_halved(capsys.readouterr().out, times=1)
    assert [(row["epoch"], row["step"]) for row in rows()] == [
        (1, STEPS),
        (2, 2 * STEPS),
    ]
    # The rate is a variable of the checkpoint, and yet halved.
    rates = [row["learning_rate"] for row in rows()]
    assert rates == pytest.approx([ONCE / 2] * 2)
    optimizer = keras.saving.load_model("a/final.keras").optimizer
    assert float(optimizer.learning_rate) == pytest.approx(ONCE / 2)
    assert int(optimizer.iterations) == 2 * STEPS


def test_schedule_is_halved_too():
    arguments = ["--on_nan=restore", f"--learning_rate={ONCE}"]
    arguments += ["--schedule=step", "--decay_epochs=1"]
    assert train.main([*LINEAR, *arguments]) == 0
    # What the last step of the first epoch and that of the second one had.
    assert [row["learning_rate"] for row in rows()] == pytest.approx(
        [ONCE / 2, ONCE / 20]
    )


def test_run_that_always_diverges_stops_after_three_restores(
    monkeypatch, capsys
):
    spoil(monkeypatch, np.nan)
    assert train.main([*QUICK, "--on_nan=restore"]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("with half the learning rate") == 3
    assert "not finite in step 1; the first such tensor: inputs;" in (
        captured.err
    )
    assert captured.err.count("\n") == 1
    assert rows() == []


@pytest.mark.many
def test_rows_before_a_restore_stay_and_those_after_follow(monkeypatch, capsys):
    whole = loop_lib.Loop.advance
    spoilt = []

    def advance(self, iterator, step, limit):
        done = whole(self, iterator, step, limit)
        # Once, in the second epoch of two.
        if step >= 5 and not spoilt:
            spoilt.append(step)
            return done._replace(is_finite=False)
        return done

    monkeypatch.setattr(loop_lib.Loop, "advance", advance)
    arguments = ["--on_nan=restore", "--learning_rate=0.25"]
    assert train.main([*QUICK, "--optimizer=sgds", *arguments]) == 0
    assert spoilt == [5]
    assert "from the checkpoint of step 5 with half" in capsys.readouterr().out
    assert [(row["step"], row["learning_rate"]) for row in rows()] == [
        (5, 0.25),
        (10, 0.125),
    ]


class Crash(Exception):
    """What ends a process at once."""


@pytest.mark.many
def test_run_that_is_resumed_after_two_restores_keeps_the_rate(
    monkeypatch, capsys
):
    arguments = ["--on_nan=restore", f"--learning_rate={TWICE}"]
    whole = loop_lib.Loop.advance

    def advance(self, iterator, step, limit):
        if step >= STEPS + 20:
            raise Crash
        return whole(self, iterator, step, limit)

    with monkeypatch.context() as patched:
        patched.setattr(loop_lib.Loop, "advance", advance)
        with pytest.raises(Crash):
            train.main([*LINEAR, *arguments])
    assert_halved(capsys.readouterr().out, times=2)
    assert train.main([*LINEAR, *arguments, "--resume=must"]) == 0
    assert [(row["step"], row["learning_rate"]) for row in rows()] == [
        (STEPS, pytest.approx(TWICE / 4)),
        (2 * STEPS, pytest.approx(TWICE / 4)),
    ]


def test_weights_that_are_no_numbers_are_not_saved(monkeypatch, capsys):
    whole = loop_lib.Loop.advance

    def advance(self, iterator, step, limit):
        done = whole(self, iterator, step, limit)
        if step == 2:
            model = self.replica_step.model
            model.trainable_variables[0].assign(
                np.full(model.trainable_variables[0].shape, np.inf)
            )
        return done

    monkeypatch.setattr(loop_lib.Loop, "advance", advance)
    arguments = [*QUICK, "--checkpoint_every=1", "--steps_per_loop=1"]
    assert train.main(arguments) == 2
    assert "weight_norm was inf after step 3" in capsys.readouterr().err
    assert stored.names(pathlib.Path("a/checkpoints"))[-1] == "ckpt-2"
