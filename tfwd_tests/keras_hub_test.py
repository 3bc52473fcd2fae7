"""A task of KerasHub, saved and loaded: what Keras drops, and how it is kept.

On a class that does what these tasks do, and on one of theirs where KerasHub is
installed (0.32 was tried).
"""

import functools

import keras
import numpy as np
import pytest

import tfwd

X = np.random.default_rng(0).normal(size=(32, 16, 16, 3)).astype("float32")
Y = np.arange(32) % 3
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@keras.saving.register_keras_serializable("keras_hub_test")
class Task(keras.Model):
    """A functional model that compiles itself, by a `compile` of its own."""

    def __init__(self, num_classes, **arguments):
        inputs = keras.Input((16, 16, 3))
        x = keras.layers.Conv2D(4, 3, strides=2, name="conv")(inputs)
        x = keras.layers.BatchNormalization(name="norm")(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        outputs = keras.layers.Dense(num_classes, name="predictions")(x)
        super().__init__(inputs, outputs, **arguments)
        self.num_classes = num_classes
        self.compile()

    def compile(self, optimizer="auto", loss="auto", **arguments):
        if optimizer == "auto":
            optimizer = keras.optimizers.Adam(5e-5)
        loss = LOSS if loss == "auto" else loss
        super().compile(optimizer=optimizer, loss=loss, **arguments)

    def get_config(self):
        return {"num_classes": self.num_classes, "name": self.name}


def task_of_keras_hub():
    models = pytest.importorskip("keras_hub").models
    backbone = models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(16, 16, 3),
    )
    return models.ResNetImageClassifier(backbone=backbone, num_classes=3)


OPTIMIZERS = {
    "adams": functools.partial(
        tfwd.AdamS,
        1e-3,
        weight_decay=0.05,
        exclude_from_weight_decay="@standard",
    ),
    "kfac": functools.partial(tfwd.KFAC, 1e-3, damping=0.1),
}
TASKS = {"stand-in": functools.partial(Task, 3), "KerasHub": task_of_keras_hub}


def compiled(model, name):
    """Compiles a model as the README does; returns its optimizer."""
    optimizer = OPTIMIZERS[name]()
    if name == "kfac":
        optimizer.attach(model, LOSS)
    model.compile(optimizer=optimizer, loss=LOSS)
    return optimizer


def epoch(model):
    model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)


def trained(kind, name):
    """A task, trained for an epoch and saved, and its optimizer."""
    model = TASKS[kind]()
    optimizer = compiled(model, name)
    epoch(model)
    model.save("tuned.keras")
    return model, optimizer


def assert_equal(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        a, b = map(keras.ops.convert_to_numpy, (a, b))
        np.testing.assert_array_equal(a, b)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# That of the class's own optimizer, made before there are variables.
ignored = pytest.mark.filterwarnings("ignore:Skipping variable loading for")


@ignored
@pytest.mark.parametrize("kind", TASKS)
def test_loading_drops_the_optimizer_with_a_warning_alone(kind):
    model, _ = trained(kind, "adams")
    with pytest.warns(UserWarning, match="`compile.*` was not called"):
        loaded = keras.saving.load_model("tuned.keras")
    assert_equal(loaded.weights, model.weights)
    assert type(loaded.optimizer) is keras.optimizers.Adam


@ignored
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("kind", TASKS)
def test_compiled_built_and_loaded_it_goes_on_bit_for_bit(kind, name):
    model, optimizer = trained(kind, name)
    loaded = keras.saving.load_model("tuned.keras", compile=False)
    other = compiled(loaded, name)
    other.build(loaded.trainable_variables)
    loaded.load_weights("tuned.keras")
    for _ in range(2):
        assert_equal(loaded.weights, model.weights)
        assert_equal(other.variables, optimizer.variables)
        epoch(model)
        epoch(loaded)
    assert int(other.iterations) == 6


@ignored
def test_without_the_build_the_state_is_left_in_the_file():
    trained("stand-in", "adams")
    loaded = keras.saving.load_model("tuned.keras", compile=False)
    optimizer = compiled(loaded, "adams")
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        loaded.load_weights("tuned.keras")
    assert int(optimizer.iterations) == 0
