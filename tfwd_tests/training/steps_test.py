"""steps.csv: what its rows are, and that nothing that ends a run shows.

Covers `step_rows`.
"""

import csv
import math
import pathlib

import numpy as np
import pytest

from tfwd import train
from tfwd.training.checkpoint import checkpoint
from tfwd.training.config import columns
from tfwd.training.config import flagfile
from tfwd.training.runs import job as job_lib
from tfwd.training.runs import logs
from tfwd_tests.training import crashes

# 144 examples: 5 steps in each of three epochs, the last one of 16 examples.
RUN = [
    *("--hidden_units=4", "--hidden_layers=1", "--train_fraction=0.1"),
    *("--batch_size=32", "--epochs=3", "--optimizer=sgd", "--nobatch_norm"),
    *("--schedule=step", "--decay_epochs=2", "--learning_rate=0.1"),
]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(folder="a"):
    return logs.read(pathlib.Path(folder) / "steps.csv")


def run(*arguments, folder="a"):
    return train.main([*RUN, *arguments, f"--output_dir={folder}"])


def sums_of_steps(steps):
    """[loss, correct, examples], sums of each of the first steps, in numpy."""
    job = job_lib.prepare(flagfile.parse([*RUN, "--output_dir=other"]))
    iterator, found = iter(job.batches(0)), []
    for step, batch in enumerate(job.local_batches(0).take(steps)):
        z = job.model(batch.inputs, training=True).numpy().astype(np.float64)
        labels = batch.labels.numpy()
        z -= np.log(np.sum(np.exp(z), axis=1, keepdims=True))
        loss = -np.sum(z[np.arange(len(labels)), labels])
        correct = np.sum(np.argmax(z, axis=1) == labels)
        found.append((loss, correct, len(labels)))
        job.loop.advance(iterator, step, 1)
    return np.array(found)


def test_rows_are_means_since_the_row_before():
    assert run("--log_every=2", "--steps_per_loop=3") == 0
    found = rows()
    assert [row["step"] for row in found] == [2, 4, 6, 8, 10, 12, 14]
    assert [row["epoch"] for row in found] == [1, 1, 2, 2, 2, 3, 3]
    rates = [0.1] * 5 + [0.01] * 2
    assert [row["learning_rate"] for row in found] == pytest.approx(rates)
    sums = sums_of_steps(8)
    for row, pair in zip(found[:4], sums.reshape(4, 2, 3), strict=True):
        loss, correct, examples = pair.sum(axis=0)
        assert row["train_loss"] == pytest.approx(loss / examples, rel=1e-5)
        assert row["train_accuracy"] == pytest.approx(correct / examples)
    # The last step of an epoch, fifth and tenth, has 16 examples.
    assert sums[4, 2] == 16


def test_no_flag_no_file():
    assert run("--log_every=0") == 0
    assert not pathlib.Path("a/steps.csv").exists()


@pytest.mark.parametrize("steps_per_loop", [1, 10])
def test_a_row_comes_after_that_many_steps_whatever_the_loop(steps_per_loop):
    assert run("--log_every=4", f"--steps_per_loop={steps_per_loop}") == 0
    assert [row["step"] for row in rows()] == [4, 8, 12]


def test_rows_of_one_step_make_up_those_of_the_epochs():
    assert run("--log_every=1", "--steps_per_loop=1") == 0
    epochs = logs.read(pathlib.Path("a/metrics.csv"))
    found = rows()
    assert len(found) == 15
    sizes = [32, 32, 32, 32, 16]
    for number, epoch in enumerate(epochs):
        part = found[5 * number : 5 * number + 5]
        for column in ("train_loss", "train_accuracy"):
            mean = np.average([row[column] for row in part], weights=sizes)
            assert epoch[column] == pytest.approx(mean, rel=1e-6)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of the steps.csv of a run that nothing has ended."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(*RESUMED, folder=folder) == 0
    return (folder / "steps.csv").read_bytes()


RESUMED = ["--log_every=2", "--steps_per_loop=3", "--checkpoint_every=3"]


@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [
        # Of both CSV files: the fourth is the third of steps.csv.
        (logs.MetricsFile, "append", 4),
        (checkpoint.Checkpoints, "save", 4),
        (checkpoint.Checkpoints, "save", 1),
        (checkpoint.Checkpoints, "save", 6),
        (logs.MetricsFile, "append", 1),
    ],
)
def test_run_that_ended_at_a_write_has_the_file_of_a_whole_one(
    monkeypatch, whole, owner, name, count
):
    with monkeypatch.context() as patched:
        crashing = crashes.crashing_after(getattr(owner, name), count)
        patched.setattr(owner, name, crashing)
        with pytest.raises(crashes.Crash):
            run(*RESUMED)
    # A row that was torn.
    with pathlib.Path("a/steps.csv").open("a") as file:
        file.write("99,1,0.")
    assert run(*RESUMED) == 0
    assert pathlib.Path("a/steps.csv").read_bytes() == whole


def test_text_has_a_perplexity():
    found = columns.of_steps("language_model")
    assert found == (*columns.STEP_COLUMNS, "train_perplexity")
    assert columns.of_steps("classification") == columns.STEP_COLUMNS


def test_numbers_have_all_their_digits():
    assert run("--log_every=5") == 0
    with open("a/steps.csv", newline="") as file:
        texts = [row["train_loss"] for row in csv.DictReader(file)]
    assert all(math.isfinite(float(text)) for text in texts)
    assert any(len(text) > 10 for text in texts)
