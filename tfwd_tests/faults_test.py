"""A fault of the library keeps its traceback, whichever command meets it."""

import keras
import pytest
import tensorflow as tf

from tfwd import data
from tfwd import diagnose
from tfwd import models
from tfwd import train
from tfwd.diagnostics import mechanisms
from tfwd.training.checkpoint import checkpoint
from tfwd.training.config import settings as settings_lib
from tfwd.training.loop import epoch_metrics
from tfwd.training.loop import loop as loop_lib
from tfwd.training.runs import diagnosis
from tfwd.training.runs import execution
from tfwd.training.runs import job as job_lib
from tfwd.training.runs import logs
from tfwd.training.runs import resumption
from tfwd.training.setup import build

TINY = ["--hidden_layers=0", "--epochs=1", "--train_fraction=0.1"]
FILE = ["--model_file=linear.keras", "--dataset=digits"]
EVAL = ["--mode=eval", *FILE]
DIAGNOSE = [*FILE, "--examples=10", "--diagnostics=jacobian"]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def linear():
    """A file that can be evaluated and measured."""
    keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, name="logits"),
        ]
    ).save("linear.keras")


def check_shown(monkeypatch, capsys, main, arguments, owner, name, fault):
    """Asserts that what `owner.name` raises leaves `main` as it is."""

    def faulty(*args, **kwargs):
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, faulty)
        with pytest.raises(type(fault)) as caught:
            main(arguments)
    assert caught.value is fault
    assert caught.traceback[-1].name == "faulty"
    assert str(fault) not in capsys.readouterr().err


# As a refusal is, but for who raises it.
FAULT = ValueError("`a` must be b. Received: a=c")
OTHERS = [
    RuntimeError("a fault"),
    tf.errors.InvalidArgumentError(None, None, "a fault"),
]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (data, "load"),
        (models, "build"),
        (build, "make_loop"),
        (resumption, "checkpoints_of"),
        (keras.Model, "compile"),
        # The training, and what is written of it.
        (epoch_metrics, "input_speed"),
        (checkpoint.Checkpoints, "save"),
        (loop_lib.Loop, "advance"),
        (loop_lib.Loop, "evaluate"),
        (logs.MetricsFile, "append"),
        (logs, "table"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_fault_in_training_is_shown(monkeypatch, capsys, owner, name):
    arguments = [*TINY, "--output_dir=a"]
    check_shown(monkeypatch, capsys, train.main, arguments, owner, name, FAULT)


@pytest.mark.parametrize("fault", OTHERS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize(
    ("owner", "name"), [(data, "load"), (loop_lib.Loop, "advance")]
)
def test_fault_of_another_class_is_shown(
    monkeypatch, capsys, owner, name, fault
):
    arguments = [*TINY, "--output_dir=a"]
    check_shown(monkeypatch, capsys, train.main, arguments, owner, name, fault)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (data, "load"),
        (build, "make_loop"),
        (loop_lib.Loop, "evaluate"),
        (epoch_metrics, "weight_norm"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_fault_in_evaluation_is_shown(monkeypatch, capsys, linear, owner, name):
    check_shown(monkeypatch, capsys, train.main, EVAL, owner, name, FAULT)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (data, "load"),
        (mechanisms.Mechanisms, "measure"),
        (diagnosis, "_gap"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_fault_in_diagnosis_is_shown(monkeypatch, capsys, linear, owner, name):
    check_shown(
        monkeypatch, capsys, diagnose.main, DIAGNOSE, owner, name, FAULT
    )


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        pytest.param(train.main, EVAL, id="eval"),
        pytest.param(train.main, TINY, id="train"),
        pytest.param(diagnose.main, DIAGNOSE, id="diagnose"),
    ],
)
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--dataset=mnist"], ["data_dir", "None"]),
        (["--no_such_flag"], ["no_such_flag"]),
        (["--dataset=svhn"], ["--dataset", "svhn"]),
    ],
)
def test_bad_input_of_each_command_is_one_line(
    capsys, linear, main, arguments, more, words
):
    assert main([*arguments, *more]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    for word in words:
        assert word in captured.err


@pytest.mark.parametrize(
    ("strategy", "fault", "is_line"),
    [
        ("multi_worker", tf.errors.UnavailableError, True),
        ("multi_worker", tf.errors.AbortedError, True),
        ("multi_worker", tf.errors.InvalidArgumentError, False),
        ("default", tf.errors.UnavailableError, False),
        ("default", tf.errors.ResourceExhaustedError, True),
    ],
)
def test_errors_of_tensorflow_are_lines_where_the_world_failed(
    monkeypatch, capsys, strategy, fault, is_line
):
    settings = settings_lib.Settings(strategy=strategy)
    job = type("Job", (), {"settings": settings})

    def fail(job):
        raise fault(None, None, "a fault")

    monkeypatch.setattr(train.flagfile, "parse", lambda arguments: settings)
    monkeypatch.setattr(job_lib, "prepare", lambda settings: job)
    monkeypatch.setattr(execution.run, "train", fail)
    if not is_line:
        with pytest.raises(fault):
            train.main([])
        return
    assert train.main([]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "a fault" in line
    assert ("worker" in line) == (strategy == "multi_worker")


def test_output_that_cannot_be_written_is_one_line_after_the_table(
    capsys, linear, monkeypatch
):
    def refuse(*arguments):
        raise OSError(28, "No space left on device", "full.csv")

    monkeypatch.setattr(diagnosis.table, "File", refuse)
    assert diagnose.main([*DIAGNOSE, "--output=full.csv"]) == 2
    captured = capsys.readouterr()
    assert "jacobian" in captured.out
    assert captured.err == (
        "`--output` must be writable (No space left on device). "
        "Received: --output=full.csv\n"
    )
