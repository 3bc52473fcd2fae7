"""What a saved model holds is known to Keras after `import tfwd` alone."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfwd
from tfwd import extras

LOAD = """
import json, pathlib, sys, keras, tfwd
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.saving.load_model(path)
    sums = [float(abs(w).sum()) for w in model.get_weights()]
    path.with_suffix(".json").write_text(json.dumps(sums))
    print(path.stem, type(model.optimizer).__name__)
"""
# Prints what only other rooms register, then which of the classes that Keras
# saves by name, those that nothing is derived from, are not registered.
IMPORT_ALL = """
import importlib, importlib.util, pkgutil, sys, keras, tfwd
draws = importlib.util.find_spec("matplotlib") is not None
registered = keras.saving.get_custom_objects
known = set(registered())
foreign = {"tensorflow", "jax"} - {keras.backend.backend()}
for module in pkgutil.walk_packages(tfwd.__path__, "tfwd."):
    room = module.name.split(".")[1]
    backend = module.name.split(".")[-1].split("_")[0]
    if module.name == "tfwd.diagnostics.mechanism_plots" and not draws:
        continue
    if room in sys.argv[1:] and backend not in foreign:
        importlib.import_module(module.name)
bases = [
    keras.Layer, keras.Loss, keras.Metric, keras.Initializer,
    keras.Regularizer, keras.constraints.Constraint, keras.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
]
leaves = []
while bases:
    base = bases.pop()
    bases += base.__subclasses__()
    if base.__module__.startswith("tfwd.") and not base.__subclasses__():
        leaves.append(base)
late = set(registered()) - known
never = {each.__name__ for each in set(leaves) - set(registered().values())}
print(len(leaves), *late, *never)
"""


def has_training():
    try:
        extras.require("this test", "train")
    except ImportError:
        return False
    return True


def run(program, *arguments):
    """Runs a program in a process of its own; returns its words."""
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize(
    "names",
    [["lstm"], pytest.param(tfwd.models.NAMES, marks=pytest.mark.full)],
    ids=["of layers of our own", "of every name"],
)
def test_new_process_loads_a_model(names, tmp_path):
    sums = {}
    for name in names:
        text = tfwd.models.task(name) == "language_model"
        shape = (5,) if text else (32, 32, 3)
        model = tfwd.models.build(name, shape, 10, width=0.03)
        rate = tfwd.schedules.Warmup(0.01, 3)
        model.compile(tfwd.AdamS(rate, weight_decay=5e-4))
        model.optimizer.build(model.trainable_variables)
        model.save(tmp_path / f"{name}.keras")
        sums[name] = [float(abs(w).sum()) for w in model.get_weights()]
    expected = [word for name in sorted(names) for word in (name, "AdamS")]
    assert run(LOAD, tmp_path) == expected
    for name in names:
        loaded = json.loads((tmp_path / f"{name}.json").read_text())
        np.testing.assert_array_equal(loaded, sums[name])


def test_the_package_registers_whatever_keras_saves_by_name():
    rooms = ["diagnostics", "hashing", "kfac", "models", "optimizers"]
    if keras.backend.backend() == "tensorflow" and has_training():
        rooms += ["data", "training"]
    count, *missing = run(IMPORT_ALL, *rooms)
    assert missing == []
    # The optimizers without those that others are derived from, the dropout,
    # the warm-up.
    assert int(count) >= 14
