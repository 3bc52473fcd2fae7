"""What `import tfwd` does, and the examples of README and docstrings.

Covers `types`.
"""

import operator
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfwd

ROOT = pathlib.Path(__file__).parent.parent
README = ROOT / "README.md"
BACKEND = keras.backend.backend()


def run_python(program, **environment):
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_every_public_name_exists():
    assert [n for n in tfwd.__all__ if not hasattr(tfwd, n)] == []
    assert len(set(tfwd.__all__)) == len(tfwd.__all__)


def test_import_brings_what_models_are_saved_with_and_no_other_room():
    program = (
        "import sys, tfwd\n"
        "rooms = {m.split('.')[1] for m in sys.modules "
        "if m.startswith('tfwd.')}\n"
        "print(*sorted(rooms))\n"
        "tfwd.training\n"
        "print('tfwd.training' in sys.modules)\n"
    )
    rooms = ["arguments", "binaries", "extras", "hashing", "kfac", "models"]
    rooms += ["optimizers", "scaling", "schedules", "text_table", "types"]
    rooms += ["versions"]
    assert run_python(program) == [*rooms, "True"]


@pytest.mark.parametrize("backend", ["jax", BACKEND])
def test_import_loads_no_package_that_keras_has_not_loaded(backend):
    program = (
        "import sys, keras\n"
        "before = set(sys.modules)\n"
        "import tfwd\n"
        "new = {m for m in set(sys.modules) - before}\n"
        "known = {m.split('.')[0] for m in before} | sys.stdlib_module_names\n"
        "print(*sorted({m.split('.')[0] for m in new} - known))\n"
        "print(*sorted(m for m in new if m.startswith('tfwd.')))\n"
        "print('tensorflow' in sys.modules)\n"
    )
    roots, *modules, has_tensorflow = run_python(program, KERAS_BACKEND=backend)
    assert roots == "tfwd"
    # A module costs about half a millisecond.
    assert len(modules) <= 100
    assert has_tensorflow == str(backend == "tensorflow")


def test_optimizers_and_models_work_without_tensorflow():
    program = (
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "import numpy as np, tfwd\n"
        "model = tfwd.models.build('mlp', (4, 4, 1), 3)\n"
        "model.compile(tfwd.AdamS(weight_decay=1e-3), 'mse')\n"
        "model.fit(np.ones((8, 4, 4, 1)), np.ones((8, 3)), verbose=0)\n"
        "print(int(model.optimizer.iterations.numpy()))\n"
    )
    assert run_python(program, KERAS_BACKEND="jax") == ["1"]


def test_dir_shows_the_public_names_and_nothing_else():
    rooms = "callbacks data diagnostics kfac models optimizers training tuning"
    functions = ["decay_exclusions", "layerwise"]
    names = {*tfwd.__all__, *rooms.split(), *functions, "__version__"}
    assert dir(tfwd) == sorted(names)
    for room in (tfwd.callbacks, tfwd.kfac, tfwd.models, tfwd.optimizers):
        assert dir(room) == sorted(room.__all__)
        assert [n for n in dir(room) if not hasattr(room, n)] == []


def test_schedules_and_scaling_are_imported_as_modules():
    program = (
        "import tfwd.schedules\n"
        "import tfwd.scaling as scaling\n"
        "from tfwd.schedules import Warmup\n"
        "assert tfwd.schedules.Warmup is Warmup\n"
        "print(scaling.from_keras_l2(1))\n"
    )
    assert run_python(program) == ["2.0"]


@pytest.mark.parametrize(
    ("room", "old", "new"),
    [
        (tfwd, "decay_scope", "decay_exclusions"),
        (tfwd.optimizers, "scaling", "scaling"),
        (tfwd.optimizers, "schedules", "schedules"),
    ],
)
def test_an_old_name_warns_of_the_new_one(room, old, new):
    with pytest.warns(DeprecationWarning, match=f"use `tfwd.{new}`"):
        value = getattr(room, old)
    assert value is getattr(tfwd, new)


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'tfwd' has no attribute"):
        _ = tfwd.AdamX


def readme_examples():
    if not README.exists():  # A Bazel sandbox holds no README.
        return []
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("example", range(len(readme_examples())))
def test_readme_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(readme_examples()[example], {"__name__": "example"})


CLASSES = [
    *tfwd.optimizers.OPTIMIZERS.values(),
    tfwd.KFAC,
    tfwd.OvershootWarning,
    tfwd.WeightDecayLogger,
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_docstring_has_formula_example_and_source(cls):
    assert cls.__doc__.count(">>>") == 3
    if cls is not tfwd.OvershootWarning:
        assert "References:" in cls.__doc__
    if cls not in (tfwd.OvershootWarning, tfwd.WeightDecayLogger):
        assert "θ" in cls.__doc__ or "same as" in cls.__doc__


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_docstring_example_runs(cls):
    lines = re.findall(r">>> (.*)", cls.__doc__)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    names = {"tfwd": tfwd, "model": model, "x": x, "y": y}
    exec("\n".join(lines), names)
    assert np.isfinite(names["history"].history["loss"][-1])


@pytest.mark.parametrize(
    "name", ["diagnostics.Mechanisms", "callbacks.MechanismLogger"]
)
def test_docstring_example_of_the_diagnostics_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = operator.attrgetter(name)(tfwd).__doc__
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    names = {"tfwd": tfwd, "model": model, "x": x, "y": y}
    exec("\n".join(re.findall(r">>> (.*)", example)), names)
    rows = names.get("rows") or names["logger"].rows
    assert rows[-1]["layer"] == "(model)" and rows[-1]["jacobian"] > 0
