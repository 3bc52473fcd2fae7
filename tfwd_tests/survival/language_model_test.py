"""The LSTM through the binary, on a text with a pattern."""

import os
import pathlib
import signal

import numpy as np
import pytest

from tfwd import data
from tfwd import train
from tfwd.training.loop import loop as loop_lib
from tfwd.training.runs import logs
from tfwd_tests.training import runs

SENTENCES = ("the cat sees a dog", "a dog eats", "we see the cat now")
# 29 steps of an epoch.
ARGUMENTS = [
    *("--dataset=ptb", "--model=lstm", "--hidden_units=16", "--epochs=3"),
    *("--batch_size=4", "--bptt=5", "--dropout=0.1", "--optimizer=adams"),
    *("--learning_rate=0.02", "--steps_per_loop=4", "--checkpoint_every=7"),
]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A folder with texts of 100, 30 and 20 sentences in a random order."""
    folder = tmp_path_factory.mktemp("text")
    generator = np.random.default_rng(5)
    for split, count in (("train", 100), ("valid", 30), ("test", 20)):
        chosen = generator.choice(SENTENCES, count)
        (folder / f"ptb.{split}.txt").write_text("\n".join(chosen) + "\n")
    return folder


def command(text, folder, *arguments):
    return [
        *ARGUMENTS,
        *arguments,
        f"--data_dir={text}",
        f"--output_dir={folder}",
    ]


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """The folder of a run that nothing has ended."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train.main(command(text, folder)) == 0
    return folder


def rows(folder):
    return logs.read(pathlib.Path(folder) / "metrics.csv")


def test_perplexity_is_the_exponential_of_the_loss(whole):
    for row in rows(whole):
        for split in ("train", "validation", "test"):
            perplexity = row[f"{split}_perplexity"]
            assert perplexity == pytest.approx(np.exp(row[f"{split}_loss"]))


def test_model_learns_what_the_frequencies_of_the_words_do_not_tell(
    text, whole
):
    source = data.load("ptb", data_dir=text)
    frequencies = np.bincount(source.train) / len(source.train)
    unigram = -np.log(frequencies[source.test[1:]]).mean()
    assert rows(whole)[-1]["test_loss"] < unigram / 2


def test_best_epoch_has_the_lowest_validation_perplexity(whole):
    perplexities = [row["validation_perplexity"] for row in rows(whole)]
    assert np.argmin(perplexities) == len(perplexities) - 1
    best, final = (
        runs.weights(whole, name) for name in ("best.keras", "final.keras")
    )
    for path, array in final.items():
        np.testing.assert_array_equal(best[path], array, err_msg=path)


@pytest.mark.many
def test_two_replicas_train_to_the_losses_of_one_device(text, whole, tmp_path):
    mirrored = ["--strategy=mirrored", "--num_devices=2"]
    assert train.main(command(text, tmp_path / "two", *mirrored)) == 0
    for one, two in zip(rows(whole), rows(tmp_path / "two"), strict=True):
        for name, value in one.items():
            if name not in ("elapsed_seconds", "examples_per_second"):
                assert two[name] == pytest.approx(value, abs=1e-5), name


class Crash(Exception):
    """What ends a process at once."""


def advancing(monkeypatch, at, act):
    """Calls `act` after the first steps that reach step `at`."""
    whole_advance = loop_lib.Loop.advance

    def advance(self, iterator, step, limit):
        done = whole_advance(self, iterator, step, limit)
        if step < at <= step + done.steps:
            act()
        return done

    monkeypatch.setattr(loop_lib.Loop, "advance", advance)


def assert_same(folder, whole):
    assert runs.rows(folder) == runs.rows(whole)
    expected = runs.weights(whole)
    found = runs.weights(folder)
    assert found.keys() == expected.keys()
    for path, array in expected.items():
        np.testing.assert_array_equal(found[path], array, err_msg=path)


def test_run_stopped_within_an_epoch_goes_on_with_its_states(
    text, whole, tmp_path, monkeypatch
):
    # In the second epoch, at an end of the whole run's calls.
    with monkeypatch.context() as patched:
        advancing(patched, 39, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train.main(command(text, tmp_path / "a")) == 143
    assert len(rows(tmp_path / "a")) == 1
    assert train.main(command(text, tmp_path / "a", "--resume=must")) == 0
    assert_same(tmp_path / "a", whole)


@pytest.mark.many
def test_run_that_crashed_goes_on_from_the_states_of_its_checkpoint(
    text, whole, tmp_path, monkeypatch
):
    def crash():
        raise Crash

    with monkeypatch.context() as patched:
        advancing(patched, 47, crash)
        with pytest.raises(Crash):
            train.main(command(text, tmp_path / "a"))
    assert train.main(command(text, tmp_path / "a")) == 0
    assert_same(tmp_path / "a", whole)


@pytest.mark.many
def test_evaluation_of_the_file_prints_the_table_of_the_run(
    text, tmp_path, capsys
):
    assert train.main(command(text, tmp_path / "a", "--epochs=1")) == 0
    trained = capsys.readouterr().out
    evaluated = [
        f"--flagfile={tmp_path / 'a' / 'flags.txt'}",
        *("--mode=eval", f"--model_file={tmp_path / 'a' / 'final.keras'}"),
    ]
    assert train.main(evaluated) == 0
    table = capsys.readouterr().out
    assert table.split()[:3] == ["loss", "accuracy", "perplexity"]
    assert table.count("\n") == 5
    assert table in trained
