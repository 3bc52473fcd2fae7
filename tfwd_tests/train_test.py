"""The binary, from its command line to its files.

Covers `execution`, `job`, `command`, `run` and `result`.
"""

import csv
import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfwd import data
from tfwd import train
from tfwd.training.runs import logs
from tfwd.training.runs import run_files

ROOT = pathlib.Path(__file__).parents[1]
QUICK = ["--epochs=2", "--hidden_units=16", "--train_fraction=0.3"]
KFAC = [
    *("--optimizer=kfac", "--learning_rate=0.02", "--damping=0.03"),
    *("--factor_every=2", "--inverse_every=4", "--cold_start"),
]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(folder):
    return logs.read(pathlib.Path(folder) / "metrics.csv")


def contents(folder):
    paths = pathlib.Path(folder).rglob("*")
    return {path: path.read_bytes() for path in paths if path.is_file()}


def files(folder="."):
    return {p.name for p in pathlib.Path(folder).iterdir()}


def test_run_writes_its_files_and_ends_with_a_table(capsys):
    assert train.main(QUICK) == 0
    (folder,) = pathlib.Path("runs").iterdir()
    assert folder.name.startswith("digits-mlp-adams-")
    written = {"flags.txt", "run.json", "metrics.csv", "curves.png"}
    written |= {"best.keras", "final.keras", "checkpoints"}
    assert files(folder) == written

    first, last = rows(folder)
    assert (first["epoch"], last["epoch"]) == (1, 2)
    assert last["step"] == 2 * first["step"]
    assert last["learning_rate"] == pytest.approx(1e-3)
    assert last["validation_loss"] is None
    assert last["train_loss"] < first["train_loss"]

    out = capsys.readouterr().out
    table = [line.split() for line in out.splitlines()]
    assert ["test", f"{last['test_loss']:.4f}"] in [t[:2] for t in table]
    assert ["weight", "norm", f"{last['weight_norm']:.4f}"] in table
    assert [str(folder / "curves.png")] in table


def test_saved_model_evaluates_to_the_last_row():
    arguments = ["--output_dir=a", "--optimizer=adais", "--epochs=3"]
    assert train.main([*QUICK, *arguments]) == 0
    model = keras.saving.load_model("a/final.keras")
    splits = data.load("digits")
    loss, accuracy = model.evaluate(
        splits.test.images, splits.test.labels, verbose=0
    )
    last = rows("a")[-1]
    assert loss == pytest.approx(last["test_loss"], rel=1e-5)
    assert accuracy == pytest.approx(last["test_accuracy"])
    norms = [np.sum(np.square(w)) for w in model.trainable_variables]
    assert np.sqrt(sum(norms)) == pytest.approx(last["weight_norm"])
    assert int(model.optimizer.iterations) == last["step"]


def test_penalty_is_that_of_the_decayed_variables_with_the_scheduled_decay():
    arguments = [
        "--output_dir=a",
        "--optimizer=sgd",
        "--weight_decay=0.5",
        "--exclude_from_weight_decay=@bias",
        "--weight_decay_multiplier=logits=0.5",
        "--weight_decay_schedule=step",
        "--decay_epochs=1",
    ]
    assert train.main([*QUICK, *arguments]) == 0
    model = keras.saving.load_model("a/final.keras")
    kernels = [v for v in model.trainable_variables if v.ndim == 2]
    squares = [float(np.sum(np.square(kernel))) for kernel in kernels]
    expected = 0.5 * 0.05 * (squares[0] + squares[1] + 0.5 * squares[2])
    last = rows("a")[-1]
    assert last["penalty"] == pytest.approx(expected, rel=1e-5)
    assert last["effective_weight_decay"] == pytest.approx(0.05)

    described = json.loads(pathlib.Path("a/run.json").read_text())
    assert list(described["decayed"].values()) == [1.0, 1.0, 0.5]
    assert len(described["excluded"]) == 3


@pytest.mark.many
def test_best_model_is_the_one_of_the_best_validation_epoch():
    arguments = ["--output_dir=a", "--num_validation=200", "--epochs=4"]
    # The rate grows until rate times decay is 1, which wipes the weights out:
    # the last epoch is not the best.
    arguments += ["--optimizer=sgdw", "--warmup_epochs=4", "--nobatch_norm"]
    arguments += ["--learning_rate=0.4", "--weight_decay=2.5"]
    assert train.main([*QUICK, *arguments]) == 0
    accuracies = [row["validation_accuracy"] for row in rows("a")]
    assert accuracies[-1] < max(accuracies)
    model = keras.saving.load_model("a/best.keras")
    splits = data.load("digits", num_validation=200)
    held_out = splits.validation
    _, accuracy = model.evaluate(held_out.images, held_out.labels, verbose=0)
    assert accuracy == pytest.approx(max(accuracies))
    described = json.loads(pathlib.Path("a/run.json").read_text())
    assert described["best_by"] == "validation_accuracy"


@pytest.mark.many
def test_final_model_holds_the_moving_average_with_use_ema():
    arguments = ["--output_dir=a", "--use_ema", "--ema_momentum=1"]
    assert train.main([*QUICK, *arguments]) == 0
    # Momentum 1 keeps what the first step set.
    final = keras.saving.load_model("a/final.keras").get_weights()
    best = keras.saving.load_model("a/best.keras").get_weights()
    assert not np.allclose(final[0], best[0], atol=1e-5)


def test_evaluation_prints_the_table_again_and_writes_nothing(capsys):
    assert train.main([*QUICK, "--output_dir=a"]) == 0
    trained = capsys.readouterr().out
    before = files(), files("a")
    arguments = ["--flagfile=a/flags.txt", "--mode=eval"]
    arguments += ["--model_file=a/final.keras"]
    assert train.main(arguments) == 0
    table = capsys.readouterr().out
    assert table.count("\n") == 4
    assert table in trained
    assert (files(), files("a")) == before


def test_kfac_learns_and_lists_the_layers_it_covers():
    arguments = [*KFAC, "--epochs=5", "--output_dir=a"]
    assert train.main([*QUICK, *arguments]) == 0
    assert rows("a")[-1]["train_accuracy"] > 0.8
    described = json.loads(pathlib.Path("a/run.json").read_text())
    registration = "\n".join(described["registration"])
    for layer in ("hidden1", "hidden2", "logits"):
        assert layer in registration
    assert described["optimizer"]["config"]["damping"] == 0.03
    model = keras.saving.load_model("a/final.keras")
    assert int(model.optimizer.iterations) == rows("a")[-1]["step"]


@pytest.mark.many
@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param([], id="first_order"),
        pytest.param(KFAC, id="kfac", marks=pytest.mark.full),
    ],
)
def test_two_replicas_train_to_the_same_losses_as_one(optimizer):
    losses = {}
    for count in (1, 2):
        arguments = [
            f"--output_dir={count}",
            "--strategy=mirrored",
            f"--num_devices={count}",
            # Batch statistics are those of each replica.
            "--nobatch_norm",
            "--epochs=3",
            *optimizer,
        ]
        assert train.main([*QUICK, *arguments]) == 0
        losses[count] = [
            (row["train_loss"], row["test_loss"]) for row in rows(str(count))
        ]
    np.testing.assert_allclose(losses[1], losses[2], atol=1e-5)


@pytest.mark.many
def test_mirrored_batch_norm_model_evaluates_alike_from_its_file(capsys):
    arguments = ["--output_dir=a", "--strategy=mirrored", "--num_devices=2"]
    assert train.main([*QUICK, *arguments]) == 0
    trained = capsys.readouterr().out
    arguments = ["--mode=eval", "--model_file=a/final.keras"]
    assert train.main([*QUICK[2:], *arguments]) == 0
    assert capsys.readouterr().out in trained


@pytest.mark.full
@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(["--optimizer=sgds"], id="sgds"),
        pytest.param(KFAC, id="kfac"),
    ],
)
def test_replay_under_deterministic_gives_the_same_bytes(tmp_path, optimizer):
    # In a process of its own: determinism cannot be switched off again.
    program = f"""
import sys
from tfwd import train
base = ["--deterministic", "--epochs=2", "--seed=3", *{optimizer}]
assert train.main([*base, "--output_dir=a"]) == 0
assert train.main(["--flagfile=a/flags.txt", "--output_dir=b"]) == 0
assert train.main([*base, "--seed=4", "--output_dir=c"]) == 0
"""
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    timing = ("elapsed_seconds", "examples_per_second")

    def untimed(folder):
        with open(tmp_path / folder / "metrics.csv", newline="") as file:
            return [
                [text for name, text in row.items() if name not in timing]
                for row in csv.DictReader(file)
            ]

    assert untimed("a") == untimed("b")
    assert untimed("a") != untimed("c")
    flags = [(tmp_path / name / "flags.txt").read_text() for name in "ab"]
    assert flags[0] == flags[1]


def test_complete_run_is_left_as_it_is(capsys):
    assert train.main([*QUICK, "--output_dir=a"]) == 0
    before = contents("a")
    capsys.readouterr()
    assert train.main([*QUICK, "--output_dir=a"]) == 0
    assert capsys.readouterr().out == (
        "a is complete: nothing is left to train\n"
    )
    assert contents("a") == before


def test_divergence_names_the_step_and_keeps_the_last_good_state(capsys):
    # Learning rate times L2 is 100: every step multiplies each weight by
    # -99 and the logits by a million, 1e24 after the 4 steps of epoch 1.
    arguments = [
        *("--optimizer=sgd", "--nobatch_norm", "--learning_rate=0.1"),
        *("--weight_decay=1000", "--momentum=0", "--output_dir=a"),
    ]
    assert train.main([*QUICK, *arguments]) == 2
    captured = capsys.readouterr()
    (step,) = re.findall(r"in step (\d+);", captured.err)
    assert 4 < int(step) <= 8
    assert "a/last.keras" in captured.err
    assert captured.err.count("\n") == 1

    (row,) = rows("a")
    assert row["step"] == 4
    model = keras.saving.load_model("a/last.keras")
    assert int(model.optimizer.iterations) == 4
    squares = [np.sum(np.square(w)) for w in model.trainable_variables]
    assert np.sqrt(sum(squares)) == pytest.approx(row["weight_norm"])
    assert "final.keras" not in files("a")


def test_decay_that_would_overshoot_is_told_and_takes_weights_to_zero(capsys):
    arguments = [
        *("--optimizer=sgdw", "--nobatch_norm", "--learning_rate=0.1"),
        *("--weight_decay=1000", "--output_dir=a"),
    ]
    assert train.main([*QUICK, *arguments]) == 0
    assert capsys.readouterr().out.count("first at step 1:") == 1
    assert rows("a")[-1]["weight_norm"] < 1


def test_divergence_in_the_first_epoch_leaves_the_initial_weights(capsys):
    arguments = ["--optimizer=sgd", "--learning_rate=1e20", "--nobatch_norm"]
    assert train.main([*QUICK, *arguments, "--output_dir=a"]) == 2
    error = capsys.readouterr().err
    assert "in step 2;" in error and "a/last.keras" in error
    model = keras.saving.load_model("a/last.keras")
    assert int(model.optimizer.iterations) == 0
    for variable in model.trainable_variables:
        assert np.all(np.isfinite(variable))
    assert rows("a") == []


def test_names_of_a_run_are_all_its_files():
    arguments = ["--output_dir=a", "--tensorboard", "--epochs=1"]
    arguments += ["--diagnostics=effective_learning_rate", "--log_every=1"]
    assert train.main([*QUICK, *arguments]) == 0
    assert files("a") | {"last.keras"} == set(run_files.NAMES)
