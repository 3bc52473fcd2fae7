"""The binary that measures a trained model, from flags to table and file.

Covers `diagnosis` and `trained`.
"""

import pathlib
import shutil

import keras
import numpy as np
import pytest

from tfwd import data
from tfwd import diagnose
from tfwd import train
from tfwd.diagnostics import table
from tfwd.training.runs import run_files

RUN = [
    *("--hidden_units=4", "--hidden_layers=1", "--train_fraction=0.2"),
    *("--epochs=1", "--optimizer=kfac", "--learning_rate=0.1"),
    *("--damping=0.1", "--schedule=step", "--decay_epochs=1"),
]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    with pytest.warns(UserWarning, match="never drops: --decay_epochs=1"):
        assert train.main([*RUN, f"--output_dir={folder}"]) == 0
    return folder


def loss_of(model, split, examples, train_fraction=1.0):
    """The mean loss on the first examples, in numpy."""
    chosen = data.load("digits", train_fraction=train_fraction).examples(split)
    images, labels = chosen.images[:examples], chosen.labels[:examples]
    z = model.predict(images, verbose=0).astype(np.float64)
    z -= np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(z[np.arange(len(labels)), labels])


def test_checkpoint_of_a_run_is_measured_on_the_data_of_its_flags(run, capsys):
    capsys.readouterr()
    arguments = [f"--checkpoint={run}", "--examples=200", "--output=d.csv"]
    assert diagnose.main(arguments) == 0
    out = capsys.readouterr().out
    hidden, logits, model = table.read("d.csv")
    assert (hidden["layer"], logits["layer"]) == ("hidden1", "logits")
    assert (model["epoch"], model["step"]) == (1, 3)
    saved = keras.saving.load_model(run / "final.keras")
    kernel = saved.get_layer("logits").kernel.numpy()
    norm = np.linalg.norm(kernel.astype(np.float64))
    assert logits["weight_norm"] == pytest.approx(norm, rel=1e-6)
    # The rate of the next step, after the schedule's drop.
    assert logits["effective_learning_rate"] == pytest.approx(0.01 / norm**2)
    assert logits["effective_damping"] == pytest.approx(0.1 * norm**2)
    for name in ("jacobian", "gauss_newton_norm", "fisher_rao_norm"):
        assert model[name] > 0
        assert name.replace("_", " ") in out
    losses = [loss_of(saved, each, 200, 0.2) for each in ("test", "train")]
    (line,) = [x for x in out.splitlines() if "generalization gap" in x]
    assert float(line.split()[2]) == pytest.approx(
        losses[0] - losses[1], rel=1e-3
    )


def test_file_of_the_run_gives_the_numbers_of_its_checkpoint(run):
    few = ["--examples=64", "--diagnostics=effective_learning_rate,jacobian"]
    assert diagnose.main([f"--checkpoint={run}", *few, "--output=a.csv"]) == 0
    # The training split without the flag: its first examples are others.
    few.append("--split=test")
    folder = run / "checkpoints"
    assert (
        diagnose.main([f"--checkpoint={folder}", *few, "--output=b.csv"]) == 0
    )
    file = [f"--model_file={run / 'final.keras'}", "--dataset=digits"]
    assert diagnose.main([*file, *few, "--output=c.csv"]) == 0
    first, of_run, of_file = map(table.read, ("a.csv", "b.csv", "c.csv"))
    assert first[-1]["jacobian"] != of_run[-1]["jacobian"]
    for one, other in zip(of_run, of_file, strict=True):
        for name in set(table.COLUMNS) - {"epoch", "seconds"}:
            if isinstance(one[name], float):
                assert other[name] == pytest.approx(one[name], rel=1e-6)
            else:
                assert other[name] == one[name]


def test_exact_jacobian_of_a_linear_model_is_the_norm_of_its_weights():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, name="logits"),
        ]
    )
    # Not compiled, and so without an optimizer.
    model.save("linear.keras")
    arguments = ["--model_file=linear.keras", "--dataset=digits"]
    arguments += ["--examples=10", "--diagnostics=jacobian", "--output=d.csv"]
    assert diagnose.main(arguments) == 0
    row = table.read("d.csv")[-1]
    expected = np.sum(np.square(model.layers[-1].kernel.numpy()))
    assert row["jacobian"] == pytest.approx(expected, rel=1e-5)


def test_help_has_what_a_flag_needs_here_and_not_in_training(capsys):
    with pytest.raises(SystemExit):
        diagnose.main(["--help"])
    text = capsys.readouterr().out
    assert "needs --model_file)" in text and "--mode=" not in text


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as left:
        diagnose.main(["--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    for name in ("model_file", "checkpoint", "diagnostics", "projections"):
        assert f"--{name}:" in out


def contents():
    paths = pathlib.Path().rglob("*")
    return {path: path.is_file() and path.read_bytes() for path in paths}


def check_refused(capsys, arguments, *words):
    before = contents()
    capsys.readouterr()
    assert diagnose.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    for word in words:
        assert word in captured.err
    assert contents() == before


FILE = ["--model_file=a.keras", "--dataset=digits"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--model_file", "--checkpoint", "None"]),
        ([*FILE, "--checkpoint=a"], ["--model_file", "or else"]),
        (FILE[:1], ["--dataset", "--model_file", "None"]),
        (FILE, ["--model_file", "existing", "a.keras"]),
        ([*FILE, "--dataset=svhn"], ["--dataset", "digits", "svhn"]),
        ([*FILE, "--diagnostics=hessian"], ["--diagnostics", "jacobian"]),
        ([*FILE, "--examples=0"], ["--examples", "at least 1", "0"]),
        ([*FILE, "--projections=0"], ["--projections", "at least 1", "0"]),
        ([*FILE, "--split=dev"], ["--split", "validation", "dev"]),
        ([*FILE, "--output=b/c.csv"], ["--output", "new file", "b/c.csv"]),
        (["--checkpoint=a"], ["--checkpoint", "flags.txt", "a"]),
        (
            ["--checkpoint=~no_such_user/a"],
            ["--checkpoint", "home directory", "~no_such_user"],
        ),
        ([f"--checkpoint={'x' * 300}"], ["--checkpoint", "name too long"]),
        ([*FILE, f"--output={'x' * 300}"], ["--output", "name too long"]),
        (["--checkpoint="], ["--checkpoint", "one line"]),
        (["--dataset=digits"], ["--model_file", "None"]),
        ([*FILE, "--epochs=3"], ["epochs"]),
        (["model"], ["Received: model"]),
    ],
)
def test_flag_that_breaks_a_rule_is_refused(capsys, arguments, words):
    check_refused(capsys, arguments, *words)


def test_run_without_a_checkpoint_or_the_split_is_refused(capsys, run):
    shutil.copytree(run, "copy")
    for path in pathlib.Path("copy/checkpoints").glob("ckpt-*"):
        path.unlink()
    arguments = ["--checkpoint=copy"]
    check_refused(capsys, arguments, "--checkpoint", "can be read", "copy")
    arguments = [f"--checkpoint={run}", "--split=validation"]
    check_refused(capsys, arguments, "--split", "train, test", "validation")
    pathlib.Path("mine.csv").write_text("mine")
    arguments = [f"--checkpoint={run}", "--output=mine.csv"]
    check_refused(capsys, arguments, "--output", "new file", "mine.csv")
    assert run_files.Files(run).flags.is_file()
