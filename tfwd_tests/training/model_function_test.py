"""`--model=package.module:function` trains, resumes, evaluates, is measured."""

import pathlib
import sys

import keras
import pytest

from tfwd import diagnose
from tfwd import train
from tfwd.diagnostics import table
from tfwd_tests.training import runs

MODULE = """
import sys

import keras
from keras import layers


@keras.saving.register_keras_serializable("own_nets")
class Scaled(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, x):
        return (1 + self.scale) * x


def body():
    inputs = keras.Input((16,))
    x = Scaled(name="scaled")(layers.Dense(8, "relu", name="hidden")(inputs))
    return keras.Model(inputs, x, name="body")


def functional(input_shape, num_classes):
    inputs = keras.Input(input_shape)
    x = layers.Flatten()(layers.AveragePooling2D(2)(inputs))
    shared = layers.Dense(8, name="shared")
    x = body()(x)
    x = layers.Dropout(0.2)(shared(shared(x)) + x)
    x = layers.BatchNormalization()(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="head")(x))


def unbuilt(input_shape, num_classes):
    return keras.Sequential([layers.Flatten(), layers.Dense(num_classes)])


def raises(input_shape, num_classes):
    raise RuntimeError(f"no net for {input_shape}\\nor so")


def leaves(input_shape, num_classes):
    sys.exit(3)


def takes_nothing():
    pass


def gives_nothing(input_shape, num_classes):
    pass


class Subclass(keras.Model):
    def call(self, x):
        return x


def subclassed(input_shape, num_classes):
    return Subclass()


def seven(input_shape, num_classes):
    return unbuilt(input_shape, 7)


def other_inputs(input_shape, num_classes):
    return keras.Sequential([keras.Input((3,)), layers.Dense(num_classes)])


def softmax(input_shape, num_classes):
    return keras.Sequential(
        [layers.Flatten(), layers.Dense(num_classes, "softmax", name="last")]
    )


def nested_softmax(input_shape, num_classes):
    inputs = keras.Input(input_shape)
    inner = softmax(input_shape, num_classes)
    inner.build((None, *input_shape))
    return keras.Model(inputs, inner(inputs))


constant = 3
"""
TINY = (
    *("--epochs=1", "--train_fraction=0.1", "--batch_size=32"),
    "--learning_rate=0.01",
)


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    """Modules beside an empty folder to work in."""
    source = tmp_path / "source"
    (source / "own_nets").mkdir(parents=True)
    (source / "own_nets" / "__init__.py").write_text("")
    (source / "own_nets" / "nets.py").write_text(MODULE)
    (source / "own_broken.py").write_text("import no_such_module_at_all\n")
    (source / "own_script.py").write_text("raise SystemExit('used up')\n")
    monkeypatch.syspath_prepend(source)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def run(*arguments, model="own_nets.nets:functional", folder="a"):
    given = [*TINY, f"--model={model}", *arguments]
    return train.main([*given, f"--output_dir={folder}"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--optimizer=adams"],
        # Which has no block for a layer of one's own.
        ["--optimizer=kfac", "--damping=0.1", "--on_unsupported=sgd"],
    ],
    ids=["adams", "kfac"],
)
def test_run_is_made_resumed_evaluated_and_measured(arguments, capsys):
    assert run(*arguments) == 0
    assert run(*arguments, "--epochs=2") == 0
    assert "--model=own_nets.nets:functional" in (
        pathlib.Path("a/flags.txt").read_text()
    )
    assert run(*arguments, "--epochs=2", folder="b") == 0
    whole, resumed = (runs.rows(each) for each in "ba")
    assert len(whole) == 2 and whole == resumed
    capsys.readouterr()
    evaluated = ["--mode=eval", "--model_file=a/final.keras"]
    given = ["--model=own_nets.nets:functional"]
    assert train.main([*evaluated, *given]) == 0
    loss = float(capsys.readouterr().out.splitlines()[2].split()[1])
    assert loss == pytest.approx(float(whole[-1]["test_loss"]), abs=6e-5)
    measured = [
        *("--diagnostics=effective_learning_rate,jacobian", "--examples=8"),
        "--split=test",
        "--output=d.csv",
    ]
    assert diagnose.main(["--checkpoint=a", *measured]) == 0
    measured[-1] = "--output=e.csv"
    file = ["--model_file=a/final.keras", "--dataset=digits", *given]
    assert diagnose.main([*file, *measured]) == 0
    one, other = (
        table.read(pathlib.Path(each))[-1] for each in ("d.csv", "e.csv")
    )
    assert one["jacobian"] == pytest.approx(other["jacobian"], rel=1e-5)


def test_file_whose_module_was_not_imported_is_refused(capsys):
    assert run() == 0
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]
    del keras.saving.get_custom_objects()["own_nets>Scaled"]
    capsys.readouterr()
    assert train.main(["--mode=eval", "--model_file=a/final.keras"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "class 'Scaled'" in error


def test_unbuilt_model_is_built_and_two_replicas_train_it():
    flags = ["--strategy=mirrored", "--num_devices=2", "--batch_size=24"]
    for model in ("unbuilt", "functional"):
        model = f"own_nets.nets:{model}"
        assert run(*flags, model=model, folder=model[-5:]) == 0


def test_folder_of_a_run_has_the_name_of_the_function():
    assert train.main([*TINY, "--model=own_nets.nets:unbuilt"]) == 0
    (folder,) = pathlib.Path("runs").iterdir()
    assert folder.name.startswith("digits-unbuilt-adams-")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("own_nets", ["must be one of mlp, ", "lstm, package.module:function"]),
        ("own_nets:", ["must be one of mlp, "]),
        ("own nets.nets:a", ["must be one of mlp, "]),
        (
            "own_none:net",
            ["that can be imported", "No module named 'own_none'"],
        ),
        ("own_broken:net", ["imported", "'no_such_module_at_all'"]),
        ("own_script:net", ["imported (SystemExit: used up)"]),
        ("own_nets.nets:net", ["must name a function of own_nets.nets"]),
        ("own_nets.nets:constant", ["must name a function of own_nets.nets"]),
        (
            "own_nets.nets:raises",
            ["input_shape=(8, 8, 1)", "num_classes=10", "net for (8, 8, 1) or"],
        ),
        ("own_nets.nets:leaves", ["must be a function that", "SystemExit: 3"]),
        ("own_nets.nets:takes_nothing", ["TypeError", "input_shape"]),
        ("own_nets.nets:gives_nothing", ["sequential model; this is a None"]),
        ("own_nets.nets:subclassed", ["sequential model; this is a Subclass"]),
        ("own_nets.nets:seven", ["give logits (10,)", "gives (7,)"]),
        ("own_nets.nets:other_inputs", ["inputs (8, 8, 1)", "takes (3,)"]),
        ("own_nets.nets:softmax", ["gives logits; its last layer, last,"]),
        ("own_nets.nets:nested_softmax", ["its last layer, last, makes prob"]),
    ],
)
def test_function_that_makes_no_model_for_the_data_is_refused(
    capsys, model, words
):
    assert run(model=model) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.endswith(f"Received: --model={model}\n")
    for word in words:
        assert word in captured.err
    assert list(pathlib.Path().iterdir()) == []


@pytest.mark.parametrize(
    "flag",
    [
        *("--width=0.5", "--convention=xie2022", "--nobatch_norm"),
        *("--sync_batch_norm", "--hidden_units=3", "--hidden_layers=1"),
        "--dropout=0.1",
    ],
)
def test_flag_that_only_models_by_name_understand_is_refused(capsys, flag):
    assert run(flag) == 2
    name = flag.removeprefix("--").removeprefix("no").partition("=")[0]
    error = capsys.readouterr().err
    assert error.startswith(f"`--{name}` needs ") and error.count("\n") == 1


def test_text_needs_a_model_with_states(capsys):
    assert run("--dataset=ptb") == 2
    assert "must be lstm for --dataset=ptb" in capsys.readouterr().err


def test_diagnose_needs_a_file_with_a_module(capsys):
    arguments = ["--checkpoint=a", "--model=own_nets.nets:functional"]
    assert diagnose.main(arguments) == 2
    assert "`--model` needs --model_file" in capsys.readouterr().err
