"""What is changed between epochs: where decay acts, norms of another run."""

import pathlib

import keras
import numpy as np
import pytest

from tfwd import data
from tfwd import train
from tfwd.diagnostics import table
from tfwd.training.checkpoint import checkpoint
from tfwd.training.config import flagfile
from tfwd.training.runs import job as job_lib
from tfwd.training.runs import logs
from tfwd_tests.training import crashes

# Three steps in each of three epochs.
TINY = [
    *("--hidden_units=4", "--hidden_layers=1", "--train_fraction=0.05"),
    *("--batch_size=32", "--epochs=3", "--steps_per_loop=3"),
    "--diagnostics=effective_learning_rate",
]
NORMS = [1.0, 1.5, 0.7, 3.0]
SGD = ["--optimizer=sgdw", "--learning_rate=0.05", "--momentum=0.5"]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def norms(folder):
    """{layer: norms after 0, 1, ... epochs} of a run's diagnostics.csv."""
    result = {}
    for row in table.read(pathlib.Path(folder) / "diagnostics.csv"):
        result.setdefault(row["layer"], []).append(row["weight_norm"])
    return result


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("normalized", {"hidden1/kernel"}), ("final", {"logits/kernel"})],
)
def test_scope_and_exclusions_together_choose_what_decays(scope, expected):
    arguments = [*TINY, f"--decay_scope={scope}", "--output_dir=a"]
    arguments += ["--exclude_from_weight_decay=@bias"]
    job = job_lib.prepare(flagfile.parse(arguments))
    factors = job.optimizer.weight_decay_factors
    variables = job.model.trainable_variables
    assert {
        variable.path
        for variable, factor in zip(variables, factors, strict=True)
        if factor
    } == expected


@pytest.mark.many
@pytest.mark.parametrize(
    "strategy", ["mirrored", pytest.param("default", marks=pytest.mark.many)]
)
def test_scope_from_an_epoch_on_ends_the_decay_of_the_others(strategy):
    # Without a learning rate independent decay is all that happens: a step
    # multiplies by 0.9, and there are three in an epoch.
    arguments = [*SGD, "--learning_rate=0", "--weight_decay=0.1"]
    arguments += [
        "--weight_decay_mode=independent",
        "--optimizer=sgd",
        f"--strategy={strategy}",
    ]
    arguments += ["--decay_scope=normalized", "--decay_scope_from_epoch=1"]
    assert train.main([*TINY, *arguments, "--output_dir=a"]) == 0
    found = norms("a")
    for layer, steps in (("hidden1", [0, 3, 6, 9]), ("logits", [0, 3, 3, 3])):
        expected = found[layer][0] * 0.9 ** np.array(steps)
        np.testing.assert_allclose(found[layer], expected, rtol=1e-6)


def write_reference():
    """Writes the diagnostics.csv of a run whose hidden layer had NORMS."""
    file = table.File("reference.csv")
    for epoch, norm in enumerate(NORMS):
        values = {"epoch": epoch, "weight_norm": norm}
        file.append([table.row("hidden1", **values)])


@pytest.mark.many
@pytest.mark.parametrize(
    "strategy", ["mirrored", pytest.param("default", marks=pytest.mark.many)]
)
def test_norms_from_an_epoch_on_are_those_of_the_reference(strategy):
    write_reference()
    arguments = [*TINY, *SGD, f"--strategy={strategy}", "--output_dir=a"]
    arguments += ["--norm_transfer=reference.csv"]
    assert train.main([*arguments, "--norm_transfer_from_epoch=2"]) == 0
    found = norms("a")
    # float32 weights, float64 norms.
    np.testing.assert_allclose(found["hidden1"][2:], NORMS[2:], rtol=1e-6)
    # A learning rate of 0.05 moves norms by a few percent in three steps.
    np.testing.assert_allclose(
        found["hidden1"][1], found["hidden1"][0], rtol=0.2
    )
    assert abs(found["hidden1"][1] / NORMS[1] - 1) > 0.3

    # What was evaluated is what is saved: on every replica the same.
    model = keras.saving.load_model("a/final.keras")
    test = data.load("digits").test
    loss, _ = model.evaluate(test.images, test.labels, verbose=0)
    last = logs.read(pathlib.Path("a/metrics.csv"))[-1]
    assert loss == pytest.approx(last["test_loss"], rel=1e-5)


@pytest.mark.parametrize("count", [3, pytest.param(2, marks=pytest.mark.many)])
def test_resumed_run_has_the_switch_and_the_norms_of_a_whole_one(
    monkeypatch, capsys, count
):
    write_reference()
    arguments = [*TINY, *SGD, "--weight_decay=2", "--decay_scope=final"]
    arguments += ["--decay_scope_from_epoch=1"]
    arguments += ["--norm_transfer=reference.csv"]
    arguments += ["--norm_transfer_moments=scale"]
    assert train.main([*arguments, "--output_dir=a"]) == 0
    told = capsys.readouterr().out
    assert told.count("scope=final: 2 of ") == 1
    with monkeypatch.context() as patched:
        crashing = crashes.crashing_after(checkpoint.Checkpoints.save, count)
        patched.setattr(checkpoint.Checkpoints, "save", crashing)
        with pytest.raises(crashes.Crash):
            train.main([*arguments, "--output_dir=b"])
    assert train.main([*arguments, "--output_dir=b"]) == 0
    crashes.assert_same("b", "a")
    assert norms("a") == norms("b")
    model = keras.saving.load_model("b/final.keras")
    assert sum(model.optimizer.weight_decay_factors) == 2
