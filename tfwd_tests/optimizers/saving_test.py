"""A saved optimizer continues as if it had not been saved."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests import marks
from tfwd_tests.optimizers import table

EXCLUDED = ("@bias", "second.*kernel")


def sequential():
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="tanh", name="first"),
            keras.layers.Dense(4, activation="tanh", name="second"),
            keras.layers.Dense(3),
        ]
    )


def nested():
    inner = keras.Sequential(
        [
            keras.layers.Dense(5, activation="tanh"),
            keras.layers.Dense(4, activation="tanh", name="second"),
        ],
        name="encoder",
    )
    return keras.Sequential([keras.Input((6,)), inner, keras.layers.Dense(3)])


@keras.saving.register_keras_serializable("tfwd_tests")
class Subclassed(keras.Model):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.first = keras.layers.Dense(5, activation="tanh")
        self.second = keras.layers.Dense(4, name="second")
        self.norm = keras.layers.LayerNormalization()
        self.head = keras.layers.Dense(3)

    def call(self, inputs):
        return self.head(self.norm(self.second(self.first(inputs))))


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 6), "float32"))
    return model


MODELS = {"sequential": sequential, "nested": nested, "subclassed": subclassed}


def examples():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(64, 6)).astype("float32")
    return x, generator.normal(size=(64, 3)).astype("float32")


def assert_equal_weights(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def gradients_of(model, steps, seed):
    generator = np.random.default_rng(seed)
    return [
        [
            keras.ops.convert_to_tensor(
                generator.normal(size=v.shape).astype("float32")
            )
            for v in model.trainable_variables
        ]
        for _ in range(steps)
    ]


def apply(model, steps):
    for gradients in steps:
        model.optimizer.apply(gradients, model.trainable_variables)


@pytest.mark.parametrize(
    "case", table.abridged(table.DEFAULT_CASES), ids=table.case_id
)
def test_saved_loaded_and_continued_equals_uninterrupted(case, tmp_path):
    row, mode = case
    model = sequential()
    optimizer = row.cls(
        keras.optimizers.schedules.CosineDecay(row.learning_rate, 20),
        weight_decay=0.02,
        weight_decay_mode=mode,
        weight_decay_schedule=keras.optimizers.schedules.CosineDecay(1.0, 20),
        weight_decay_multipliers={"first/": 0.5},
        exclude_from_weight_decay=EXCLUDED,
        **row.constants,
    )
    model.compile(optimizer=optimizer, loss="mse")
    steps = gradients_of(model, 8, seed=0)
    apply(model, steps[:4])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    apply(model, steps[4:])
    apply(loaded, steps[4:])
    assert_equal_weights(model, loaded)
    assert loaded.optimizer.weight_decay_factors == (0.5, 0, 0, 0, 1, 0)


@pytest.mark.parametrize(
    "architecture", ["sequential", *marks.many("nested", "subclassed")]
)
def test_exclusions_survive_the_renaming_of_variables_in_fit(
    architecture, tmp_path
):
    x, y = examples()
    model = MODELS[architecture]()
    optimizer = tfwd.AdamS(
        0.01, weight_decay=0.1, exclude_from_weight_decay=EXCLUDED
    )
    model.compile(optimizer=optimizer, loss="mse")
    model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert (
        loaded.optimizer.weight_decay_factors == optimizer.weight_decay_factors
    )
    assert optimizer.weight_decay_factors[2] == 0
    for each in (model, loaded):
        each.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    assert_equal_weights(model, loaded)


def test_paths_do_change_on_load_so_the_positions_are_needed(tmp_path):
    model = nested()
    model.compile(optimizer=tfwd.SGDS(), loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    before = [v.path for v in model.trainable_variables]
    after = [v.path for v in loaded.trainable_variables]
    assert before != after


def test_changed_coefficient_and_overshoot_are_saved(tmp_path):
    model = sequential()
    model.compile(optimizer=tfwd.SGDW(0.5, weight_decay=3.0), loss="mse")
    apply(model, gradients_of(model, 2, seed=0))
    model.optimizer.weight_decay = 0.25
    model.save(tmp_path / "model.keras")
    optimizer = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert float(keras.ops.convert_to_numpy(optimizer.weight_decay)) == 0.25
    assert int(keras.ops.convert_to_numpy(optimizer.first_overshoot_step)) == 1


def test_fresh_process_loads_after_importing_tfwd(tmp_path):
    path = tmp_path / "model.keras"
    x, y = examples()
    model = sequential()
    model.compile(
        optimizer=tfwd.AdamS(tfwd.schedules.Warmup(0.01, 10), weight_decay=0.1),
        loss="mse",
    )
    model.fit(x, y, verbose=0)
    model.save(path)
    program = (
        "import sys, keras, tfwd\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "print(type(model.optimizer).__name__)\n"
        "rooms = ('tfwd.data', 'tfwd.diagnostics', 'tfwd.training')\n"
        "print(any(room in sys.modules for room in rooms))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["AdamS", "False"]
