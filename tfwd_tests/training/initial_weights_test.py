"""`--init_from`: what fits is taken and told, and a checkpoint wins."""

import pathlib

import keras
import numpy as np
import pytest
from keras import layers

from tfwd import train
from tfwd.training.config import flagfile
from tfwd.training.runs import job as job_lib
from tfwd.training.setup import initial_weights
from tfwd_tests.training import runs

TINY = (
    *("--epochs=1", "--hidden_units=4", "--train_fraction=0.1"),
    *("--batch_size=32", "--init_from=first.keras", "--output_dir=a"),
)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def model(classes=10, body=("conv", "norm"), head="head"):
    """A model with an inner one of a convolution and a normalization."""
    inputs = keras.Input((8, 8, 1))
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(3, 3, name=body[0]),
            layers.BatchNormalization(name=body[1]),
        ],
        name="body",
    )
    x = layers.Flatten()(inner(inputs))
    return keras.Model(inputs, layers.Dense(classes, name=head)(x))


def saved(given, name="first.keras"):
    """Saves a model whose weights are all different."""
    given.set_weights(
        [
            np.arange(each.size).reshape(each.shape) / 10 + number
            for number, each in enumerate(given.get_weights())
        ]
    )
    given.save(name)
    return given


def weights(given, name):
    for part in name.split("/"):
        given = given.get_layer(part)
    return given.get_weights()


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_head_for_other_classes_stays_and_the_rest_is_the_files():
    there, here = saved(model(7)), model(10)
    head = weights(here, "head")
    report = initial_weights.take("first.keras", here)
    for name in ("body/conv", "body/norm"):
        assert_equal(weights(here, name), weights(there, name))
    assert_equal(weights(here, "head"), head)
    assert report.taken == ("body/conv", "body/norm")
    # 3·3·1·3 + 3 and 4·3; 6·6·3·10 + 10 more of the head.
    assert report.parameters == (42, 42 + 1090)
    first, taken, others = str(report).splitlines()
    assert first == (
        "Initial weights: 2 of 3 layers, 42 of 1,132 parameters, from "
        "first.keras"
    )
    assert taken == "  Taken: body/conv, body/norm"
    assert others == (
        "  Other weights, initialized anew: head (kernel(108, 10) bias(10,) "
        "here, kernel(108, 7) bias(7,) there)"
    )


def test_layers_of_one_model_alone_are_told():
    saved(model(body=("conv", "old"), head="last"))
    report = initial_weights.take("first.keras", model())
    assert report.taken == ("body/conv",)
    assert report.missing == ("body/norm", "head")
    assert report.unused == ("body/old", "last")
    assert str(report).splitlines()[2:] == [
        "  Not there, initialized anew: body/norm, head",
        "  Not used: body/old, last",
    ]


def test_weights_of_the_same_shapes_and_other_names_are_not_taken():
    def normalized(**arguments):
        norm = layers.BatchNormalization(name="norm", **arguments)
        return keras.Sequential(
            [keras.Input((4,)), norm, layers.Dense(2, name="head")]
        )

    saved(normalized(scale=False))
    report = initial_weights.take("first.keras", normalized(center=False))
    assert report.taken == ("head",) and list(report.others) == ["norm"]


def test_unnamed_weights_of_a_layer_are_counted_anew():
    @keras.saving.register_keras_serializable("initial_weights_test")
    class Unnamed(layers.Layer):
        def build(self, shape):
            self.first = self.add_weight(shape=(2,))
            self.second = self.add_weight(shape=(2,))

        def call(self, x):
            return x * self.first + self.second

    def made():
        return keras.Sequential([keras.Input((2,)), Unnamed(name="own")])

    there, here = saved(made()), made()
    initial_weights.take("first.keras", here)
    assert_equal(here.get_weights(), there.get_weights())


def with_code():
    """A file with a layer that would run what is in it."""
    code = layers.Lambda(lambda x: x)
    last = layers.Dense(10, name="logits")
    given = [keras.Input((8, 8, 1)), layers.Flatten(), code, last]
    keras.Sequential(given).save("first.keras")


@pytest.mark.filterwarnings("ignore:The object being serialized includes a")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pathlib.Path("first.keras").write_text("a"), ["saved Keras"]),
        (
            lambda: saved(model()),
            [
                "one here: hidden1, hidden1_norm, ",
                "it has body/conv, body/norm",
            ],
        ),
        (lambda: None, ["existing .keras file"]),
        (with_code, ["saved Keras model", "`Lambda`"]),
    ],
    ids=["no model", "no layer", "no file", "code"],
)
def test_file_without_a_layer_that_fits_is_refused(capsys, make, words):
    make()
    before = set(pathlib.Path().iterdir())
    assert train.main([*TINY]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("`--init_from` must ")
    assert captured.err.endswith("Received: --init_from=first.keras\n")
    for word in words:
        assert word in captured.err
    assert set(pathlib.Path().iterdir()) == before


STILL = ("--learning_rate=0", "--weight_decay=0", "--nobatch_norm")


@pytest.fixture
def first():
    """The weights in first.keras, of a run with another seed."""
    arguments = [*TINY[:4], "--seed=3", *STILL, "--output_dir=first"]
    assert train.main(arguments) == 0
    pathlib.Path("first/final.keras").rename("first.keras")
    return keras.saving.load_model("first.keras", compile=False).get_weights()


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--optimizer=kfac"],
        ["--use_ema"],
        ["--strategy=mirrored", "--num_devices=2", "--batch_size=24"],
        ["--dtype_policy=mixed_bfloat16"],
    ],
    ids=lambda flags: flags[0] if flags else "adams",
)
def test_run_without_a_step_ends_with_the_weights_of_the_file(
    first, flags, capsys
):
    assert train.main([*TINY, *STILL, *flags]) == 0
    found = keras.saving.load_model("a/final.keras", compile=False)
    assert_equal(found.get_weights(), first)
    out = capsys.readouterr().out
    assert out.count("Initial weights: 3 of 3 layers") == 1


def test_run_begins_at_step_zero_and_its_checkpoint_wins(first, capsys):
    arguments = [*TINY, "--nobatch_norm"]
    assert train.main([*arguments, "--epochs=2"]) == 0
    whole = runs.weights("a")
    pathlib.Path("a").rename("whole")
    assert train.main(arguments) == 0
    flags = pathlib.Path("a/flags.txt").read_text()
    assert f"--init_from={pathlib.Path('first.keras').resolve()}\n" in flags
    pathlib.Path("first.keras").unlink()
    capsys.readouterr()
    assert train.main([*arguments, "--epochs=2"]) == 0
    assert "Initial weights" not in capsys.readouterr().out
    resumed = runs.weights("a")
    assert whole.keys() == resumed.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, resumed[name])
    # A run that is complete does not ask for the file either.
    assert train.main([*arguments, "--epochs=2"]) == 0


def test_optimizer_is_a_fresh_one(first):
    job = job_lib.prepare(flagfile.parse([*TINY, "--nobatch_norm"]))
    job.folder.release()
    assert job.progress.step == 0 and int(job.optimizer.iterations) == 0
    assert_equal(job.model.get_weights(), first)
