"""Diagnostics of a run: what is measured, on what, and that no more happens.

Covers `measurement`.
"""

import csv
import pathlib

import keras
import numpy as np
import pytest

from tfwd import data
from tfwd import train
from tfwd.diagnostics import mechanisms
from tfwd.diagnostics import table
from tfwd.training.checkpoint import checkpoint
from tfwd.training.config import flagfile
from tfwd.training.runs import job as job_lib
from tfwd.training.setup import measurement
from tfwd_tests.training import crashes
from tfwd_tests.training import looping
from tfwd_tests.training import runs

ALL = ",".join(mechanisms.NAMES)
# 71 training examples, which two replicas cannot share equally.
TINY = [
    *("--hidden_units=4", "--hidden_layers=1", "--train_fraction=0.05"),
    *("--batch_size=32", "--epochs=2", "--steps_per_loop=3"),
]
SIGNS = ["--diagnostics=jacobian", "--diagnostics_examples=50"]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def measured(folder):
    return table.read(pathlib.Path(folder) / "diagnostics.csv")


def texts(folder):
    """The rows of diagnostics.csv as texts, without the column of time."""
    path = pathlib.Path(folder) / "diagnostics.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return rows


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("examples", [7, 300, 2000])
def test_first_examples_come_in_order_and_padding_after_them(
    replicas, examples
):
    source = data.load("digits", train_fraction=0.5)
    count = min(examples, source.size("train"))
    strategy = looping.mirrored(replicas)
    batches = measurement.batches(source, "train", examples, strategy)
    for _ in range(2):
        inputs, labels, weights = (
            np.concatenate(
                [
                    part
                    for batch in batches
                    for part in strategy.experimental_local_results(batch[i])
                ]
            )
            for i in range(3)
        )
        assert list(weights) == [1] * count + [0] * (len(weights) - count)
        np.testing.assert_array_equal(
            labels[:count], source.train.labels[:count]
        )
        images = source.train.images[:count].astype(np.float64)
        if images.max() > 1:
            images /= 255
        expected = (images - source.mean) / source.std
        np.testing.assert_allclose(inputs[:count], expected, atol=1e-5)


def test_run_is_measured_before_its_first_step_and_between_epochs(capsys):
    arguments = [*TINY, "--optimizer=sgdw", "--learning_rate=0.2"]
    arguments += ["--schedule=step", "--decay_epochs=2", "--epochs=2"]
    arguments += ["--diagnostics=effective_learning_rate"]
    arguments += ["--diagnostics_every=2", "--output_dir=a"]
    with pytest.warns(UserWarning, match="never drops: --decay_epochs=2"):
        assert train.main(arguments) == 0
    out = capsys.readouterr().out
    assert "Diagnostics took " in out and "a/mechanisms.png" in out
    rows = measured("a")
    places = [(row["epoch"], row["step"]) for row in rows]
    assert places == [(0, 0)] * 3 + [(2, 6)] * 3
    layers = [row["layer"] for row in rows[:3]]
    assert layers == ["hidden1", "logits", table.MODEL]
    model = keras.saving.load_model("a/final.keras")
    for row in rows[3:5]:
        kernel = model.get_layer(row["layer"]).kernel.numpy()
        norm = np.linalg.norm(kernel.astype(np.float64))
        assert row["weight_norm"] == pytest.approx(norm, rel=1e-6)
    for row in [*rows[:2], *rows[3:5]]:
        # After an epoch the rate is that of the step to come.
        rate = 0.02 if row["epoch"] else 0.2
        expected = rate / row["weight_norm"] ** 2
        assert row["effective_learning_rate"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param([], id="adams"),
        pytest.param(
            runs.OPTIMIZERS["kfac"], id="kfac", marks=pytest.mark.full
        ),
    ],
)
def test_diagnostics_change_no_bit_of_the_training(optimizer):
    for folder, more in (("a", []), ("b", ["--diagnostics=jacobian,fisher"])):
        arguments = [*TINY, *optimizer, *more, "--epochs=1"]
        assert train.main([*arguments, f"--output_dir={folder}"]) == 0
    crashes.assert_same("a", "b")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing has ended."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train.main([*TINY, *SIGNS, f"--output_dir={folder}"]) == 0
    return folder


@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [
        pytest.param(table.File, "append", 2, id="measurement"),
        *(
            pytest.param(*each, marks=pytest.mark.many)
            for each in (
                (table.File, "append", 1),
                (checkpoint.Checkpoints, "save", 1),
                (checkpoint.Checkpoints, "save", 2),
            )
        ),
    ],
)
def test_run_that_ended_at_a_write_leaves_the_rows_of_a_whole_one(
    monkeypatch, whole, owner, name, count
):
    arguments = [*TINY, *SIGNS, "--output_dir=a"]
    with monkeypatch.context() as patched:
        crashing = crashes.crashing_after(getattr(owner, name), count)
        patched.setattr(owner, name, crashing)
        with pytest.raises(crashes.Crash):
            train.main(arguments)
    assert train.main(arguments) == 0
    assert texts("a") == texts(whole)


def test_two_replicas_measure_what_one_does():
    settings = flagfile.parse(
        [
            *(*TINY, f"--diagnostics={ALL}", "--optimizer=kfac"),
            *("--learning_rate=0.1", "--damping=0.1", "--strategy=mirrored"),
            # Factors are those of the statistics of a replica's batch.
            "--sync_batch_norm",
        ]
    )
    rows = {}
    for count in (1, 2):
        each = settings.replace(num_devices=count, output_dir=str(count))
        job = job_lib.prepare(each)
        job.diagnostics.on_epoch_begin(0)
        rows[count] = measured(job.folder.path)
    for one, other in zip(rows[1], rows[2], strict=True):
        for column in set(table.COLUMNS) - {"seconds"}:
            if isinstance(one[column], float):
                # Sums in another order.
                assert other[column] == pytest.approx(one[column], rel=1e-5)
            else:
                assert other[column] == one[column]
    model = rows[2][-1]
    assert model["jacobian"] > 0 and model["fisher_rao_norm"] > 0
