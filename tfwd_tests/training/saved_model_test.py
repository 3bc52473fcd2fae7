"""Model files of every kind: eval and diagnose refuse them in one line.

Covers `keras_file`, `model_form` and `reasons`.
"""

import json
import pathlib
import zipfile

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tfwd import data
from tfwd import diagnose
from tfwd import models
from tfwd import train
from tfwd.training.config import settings as settings_lib
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.setup import saved_model

IMAGE = (8, 8, 1)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def sequential(*between, shape=IMAGE, logits=10):
    """A model that flattens, after other layers, and is dense."""
    last = [layers.Flatten(), layers.Dense(logits)]
    return keras.Sequential([keras.Input(shape), *between, *last])


def functional(make, dtype="float32"):
    """A model whose outputs `make` makes of its one input."""
    x = keras.Input(IMAGE, dtype=dtype, name="x")
    return keras.Model(x, make(x))


def dense(x, logits=10):
    return layers.Dense(logits)(layers.Flatten()(x))


def save(model, path="a.keras", **members):
    """Saves a model; `members` replace those of the archive, None is none."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    found |= {name.replace("__", "."): each for name, each in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in found.items():
            if content is not None:
                archive.writestr(name, content)


def config(content):
    """Saves a file whose config.json is this."""
    text = content if isinstance(content, str) else json.dumps(content)
    save(sequential(), config__json=text)


def raw(change):
    """Saves a file whose bytes `change` makes of those of a model."""
    save(sequential())
    path = pathlib.Path("a.keras")
    path.write_bytes(change(path.read_bytes()))


def flipped(content, position):
    changed = bytearray(content)
    changed[position] ^= 0xFF
    return bytes(changed)


def two_inputs():
    x, y = keras.Input(IMAGE), keras.Input(IMAGE)
    save(keras.Model([x, y], dense(x + y)))


class Unregistered(keras.Model):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.dense = layers.Dense(10)

    def call(self, x):
        return self.dense(ops.reshape(x, (-1, 64)))


@keras.saving.register_keras_serializable("tfwd_tests")
class Registered(Unregistered):
    pass


def subclassed(cls):
    model = cls()
    model(np.zeros((1, *IMAGE)))
    save(model)


def unbuilt():
    with pytest.warns(UserWarning, match="has not yet been built"):
        keras.Sequential([layers.Flatten(), layers.Dense(10)]).save("a.keras")


def nested(depth, name):
    """JSON of so many levels."""
    return f'{{"{name}": ' * depth + "0" + "}" * depth


def one_row(x):
    """Ten logits, but for the whole batch."""
    return ops.reshape(ops.broadcast_to(ops.sum(x), (10,)), (1, 10))


NO_MODEL = "must be a saved Keras model"
SHAPES = "must take inputs (8, 8, 1) and give logits (10,) for --dataset=digits"
KIND = "must hold a functional or sequential model that was built"
ARRAY = "must hold a model that gives one array of logits"
DENSE = {"class_name": "Dense", "module": "keras.layers"}
SGD = {"class_name": "SGD", "module": "keras.optimizers"}
# What is wrong: (what saves a.keras, words of the line).
FILES = {
    "empty": (lambda: raw(lambda content: b""), [NO_MODEL, "not a zip"]),
    "text": (lambda: raw(lambda content: b"mine"), [NO_MODEL, "not a zip"]),
    "truncated": (
        lambda: raw(lambda content: content[: len(content) // 2]),
        [NO_MODEL, "not a zip"],
    ),
    "cut at its start": (
        lambda: raw(lambda content: content[100:]),
        [NO_MODEL],
    ),
    "no config": (
        lambda: save(sequential(), config__json=None),
        [NO_MODEL, "config.json"],
    ),
    "no weights": (
        lambda: save(sequential(), **{"model__weights__h5": None}),
        [NO_MODEL, "model.weights.h5"],
    ),
    "weights that are none": (
        lambda: save(sequential(), **{"model__weights__h5": b"mine"}),
        [NO_MODEL],
    ),
    "config of no JSON": (lambda: config("{"), [NO_MODEL, "JSONDecodeError"]),
    "config of no text": (
        lambda: save(sequential(), config__json=b"\xff\xff\xff"),
        [NO_MODEL, "UnicodeDecodeError"],
    ),
    "config of a list": (lambda: config("[]"), [NO_MODEL]),
    "config of a number": (lambda: config("1"), [NO_MODEL]),
    "config of nothing": (lambda: config("{}"), [NO_MODEL]),
    "deep list": (lambda: config("[" * 10**5), [NO_MODEL, "RecursionError"]),
    "deep objects": (
        lambda: config(nested(900, "config")),
        [NO_MODEL, "RecursionError"],
    ),
    "layer": (
        lambda: config(DENSE | {"config": {"units": 3}}),
        [KIND, "a Dense"],
    ),
    "optimizer": (lambda: config(SGD | {"config": {}}), [KIND, "a SGD"]),
    "terminal codes": (
        lambda: config({"class_name": "\x1b[31mred\nline", "config": {}}),
        [NO_MODEL],
    ),
    "lambda": (
        lambda: save(sequential(layers.Lambda(lambda x: x))),
        [NO_MODEL, "`Lambda`"],
    ),
    "unregistered subclass": (
        lambda: subclassed(Unregistered),
        [NO_MODEL, "Unregistered"],
    ),
    "registered subclass": (
        lambda: subclassed(Registered),
        [KIND, "a Registered"],
    ),
    "unbuilt": (unbuilt, [KIND, "a Sequential"]),
    "two inputs": (
        two_inputs,
        [SHAPES, "takes (8, 8, 1), (8, 8, 1) and gives (10,)"],
    ),
    "two outputs": (
        lambda: save(functional(lambda x: [dense(x), dense(x)])),
        [SHAPES, "takes (8, 8, 1) and gives (10,), (10,)"],
    ),
    "other inputs": (
        lambda: save(sequential(shape=(4, 4, 1))),
        [SHAPES, "takes (4, 4, 1) and"],
    ),
    "inputs without channels": (
        lambda: save(sequential(shape=(8, 8))),
        [SHAPES, "takes (8, 8) and"],
    ),
    "other classes": (
        lambda: save(sequential(logits=7)),
        [SHAPES, "gives (7,)"],
    ),
    "map": (
        lambda: save(functional(layers.Conv2D(10, 3))),
        [SHAPES, "gives (6, 6, 10)"],
    ),
    "output by name": (
        lambda: save(functional(lambda x: {"y": dense(x)})),
        [ARRAY, "dict"],
    ),
    "nested output": (
        lambda: save(functional(lambda x: [[dense(x)]])),
        [ARRAY, "list"],
    ),
    "integers": (
        lambda: save(functional(lambda x: ops.cast(dense(x), "int32"))),
        [ARRAY, "int32 (3, 10)"],
    ),
    "one row": (
        lambda: save(functional(one_row)),
        [ARRAY, "of 3 examples", "float32 (1, 10)"],
    ),
    "strings": (
        lambda: save(
            functional(
                lambda x: dense(layers.StringLookup(vocabulary=["a"])(x)),
                dtype="string",
            )
        ),
        ["must hold a model that runs on any batch"],
    ),
}


def check_refused(capsys, words, name="a.keras"):
    """Asserts that both binaries print one line with these words; code 2."""
    capsys.readouterr()
    for main, flag in (
        (train.main, "--mode=eval"),
        (diagnose.main, "--dataset=digits"),
    ):
        assert main([flag, f"--model_file={name}"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        line, *rest = captured.err.split("\n")
        assert line.isprintable() and rest == [""]
        ending = f". Received: --model_file={name}"
        for word in ("`--model_file` ", *words, ending):
            assert word in line


@pytest.mark.filterwarnings("ignore:The object being serialized includes a")
@pytest.mark.parametrize("kind", FILES)
def test_file_that_holds_no_such_model_is_refused(capsys, kind):
    make, words = FILES[kind]
    make()
    check_refused(capsys, words)


@pytest.mark.parametrize(
    "name", ["none.keras", ".", "~no_such_user/a.keras", "a" * 300 + ".keras"]
)
def test_file_that_is_not_there_is_refused(capsys, name):
    check_refused(capsys, ["must be an existing .keras file"], name=name)


@pytest.mark.parametrize("name", ["a.h5", "a.zip", "a"])
def test_file_of_another_name_is_refused(capsys, name):
    sequential().save("a.keras")
    pathlib.Path("a.keras").rename(name)
    check_refused(capsys, [NO_MODEL], name=name)


def read(name="a.keras"):
    settings = settings_lib.Settings(mode="eval", model_file=name)
    return saved_model.read(
        settings, strategy_lib.create(settings.distribution)
    )[1]


def test_flipped_byte_is_refused_or_changes_nothing():
    model = sequential(layers.Conv2D(2, 3))
    model.save("a.keras")
    content = pathlib.Path("a.keras").read_bytes()
    expected = model.get_weights()
    kernels = [content.index(each.tobytes()[:32]) for each in expected[::2]]
    spread = np.linspace(0, len(content) - 1, 24).astype(int).tolist()
    refused = []
    for position in [*kernels, *spread]:
        pathlib.Path("a.keras").write_bytes(flipped(content, position))
        try:
            found = read().get_weights()
        except ValueError as error:
            refused.append(position)
            assert "`--model_file`" in str(error)
            continue
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert set(kernels) <= set(refused)


@pytest.mark.parametrize("kind", ["class", "function"])
def test_code_beside_the_file_is_not_run(capsys, kind, monkeypatch):
    monkeypatch.syspath_prepend(".")
    pathlib.Path("evil.py").write_text(
        "import pathlib\npathlib.Path('ran').touch()\n"
        "class Model:\n    from_config = print\n"
    )
    config(
        {
            "class_name": "Model" if kind == "class" else "function",
            "module": "evil",
            "registered_name": "Model",
            "config": {} if kind == "class" else "Model",
        }
    )
    check_refused(capsys, [NO_MODEL])
    assert not pathlib.Path("ran").exists()


def test_diagnose_refuses_a_loss_that_takes_no_numbers_of_classes(capsys):
    model = sequential()
    model.compile("sgd", "mse")
    model.save("a.keras")
    arguments = ["--dataset=digits", "--model_file=a.keras"]
    assert diagnose.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "sparse categorical cross-entropy" in error
    assert "this model has mean_squared_error. Received: --model_file=" in error


def test_diagnose_refuses_a_model_without_what_it_measures(capsys):
    model = sequential()
    model.trainable = False
    model.save("a.keras")
    arguments = ["--dataset=digits", "--model_file=a.keras"]
    assert diagnose.main([*arguments, "--diagnostics=gauss_newton"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "can be measured" in error and "Received: --model_file=" in error


def built_by_a_call():
    model = keras.Sequential([layers.Flatten(), layers.Dense(10)])
    model(np.zeros((1, *IMAGE)))
    return model


@pytest.mark.parametrize(
    "make",
    [
        built_by_a_call,
        lambda: functional(lambda x: [dense(x)]),
        lambda: keras.Sequential(
            [keras.Input(batch_shape=(7, *IMAGE)), *sequential().layers]
        ),
    ],
    ids=["built by a call", "list of one", "of one batch size"],
)
def test_unusual_model_evaluates_as_in_keras(capsys, make):
    model = make()
    model.save("a.keras")
    assert train.main(["--mode=eval", "--model_file=a.keras"]) == 0
    test = data.load("digits").test
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    expected = model.evaluate(test.images, test.labels, verbose=0)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (row,) = [each for each in rows if each[:1] == ["test"]]
    assert float(row[1]) == pytest.approx(expected, abs=6e-5)


WORDS = "a b c d\n" * 20
TEXT = ["--dataset=ptb", "--data_dir=text", "--model=lstm", "--batch_size=4"]


@pytest.fixture
def text():
    """A text of five words, with the end of the line."""
    pathlib.Path("text/ptb").mkdir(parents=True)
    for split in ("train", "valid", "test"):
        path = pathlib.Path(f"text/ptb/ptb.{split}.txt")
        path.write_text(WORDS)


def language_model(words=5):
    return models.build("lstm", (None,), words, hidden_units=2)


def states_first():
    model = language_model()
    return keras.Model(model.inputs, [*model.outputs[1:], model.outputs[0]])


def one_state_less():
    model = language_model()
    return keras.Model(model.inputs, model.outputs[:-1])


@pytest.mark.parametrize(
    "make",
    [lambda: language_model(words=6), states_first, one_state_less, sequential],
    ids=["other words", "states first", "one state less", "of images"],
)
def test_file_that_holds_no_language_model_is_refused(capsys, text, make):
    make().save("a.keras")
    arguments = ["--mode=eval", *TEXT, "--model_file=a.keras"]
    assert train.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    rule = "must take inputs (None,) and give logits (None, 5), then states"
    for word in (rule, "--dataset=ptb", "Received: --model_file=a.keras"):
        assert word in error


def test_language_model_evaluates_to_its_uniform_prediction(capsys, text):
    model = language_model()
    model.get_layer("logits").set_weights([np.zeros((2, 5)), np.zeros(5)])
    model.save("a.keras")
    arguments = ["--mode=eval", *TEXT, "--model_file=a.keras"]
    assert train.main(arguments) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (row,) = [each for each in rows if each[:1] == ["test"]]
    assert float(row[1]) == pytest.approx(np.log(5), abs=1e-4)
