"""The extras of pyproject.toml, and the one line where one is missing."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest

from tfwd import extras
from tfwd import versions
from tfwd_tests import launching

with open(launching.ROOT / "pyproject.toml", "rb") as file:
    PROJECT = tomllib.load(file)["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Not TensorFlow, which Keras itself may need here.
HIDE = "import sys\nsys.modules |= {'keras_tuner': None, 'sklearn': None}\n"


def names_of(requirements):
    return {re.match(r"[\w-]+", each)[0] for each in requirements}


def needed_by(extra):
    """The names of an extra and of one that it takes in."""
    names = names_of(EXTRAS[extra])
    if "tfwd[train]" in EXTRAS[extra]:
        names |= needed_by("train")
    return names


@pytest.fixture
def python(tmp_path):
    """Runs Python where scikit-learn and KerasTuner are not found."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    return run


@pytest.mark.parametrize(
    ("name", "extra", "missing"),
    [
        ("tfwd.train", "train", "sklearn"),
        ("tfwd.tune", "tune", "keras_tuner, sklearn"),
        ("tfwd.diagnose", "train", "sklearn"),
    ],
)
def test_binary_without_its_extra_ends_after_one_line(
    python, name, extra, missing
):
    done = python("-m", name, "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{name} must have the extra `{extra}` installed, as by `pip install "
        f".[{extra}]` in a checkout. Received: no module {missing}\n"
    )


@pytest.mark.parametrize(
    "name, extra",
    [
        ("tfwd.training", "train"),
        ("tfwd.data", "train"),
        ("tfwd.tuning", "tune"),
    ],
)
def test_room_without_its_extra_is_an_import_error_of_one_line(
    python, name, extra
):
    done = python("-c", f"import sys; sys.argv = ['-c']; import {name}")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {name} must have the extra `{extra}`")


def test_search_without_kerastuner_is_refused_when_it_is_first_named(python):
    last = python("-c", "import tfwd; tfwd.tuning").stderr.splitlines()[-1]
    assert last.startswith(
        "ImportError: tfwd.tuning must have the extra `tune`"
    )
    assert last.endswith("Received: no module keras_tuner, sklearn")


def test_picture_without_its_extra_is_refused_before_training(monkeypatch):
    from tfwd.callbacks import mechanism_logger

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        ImportError, match="^`picture=True` must have the extra"
    ):
        mechanism_logger.MechanismLogger("run", np.ones((4, 3)))
    mechanism_logger.MechanismLogger("run", np.ones((4, 3)), picture=False)


def test_what_is_there_is_not_refused():
    extras.require("json", "train", "json", "keras")


@pytest.mark.parametrize("extra", extras.MODULES)
def test_modules_that_are_looked_for_come_with_their_extra(extra):
    distributions = importlib.metadata.packages_distributions()
    for module in extras.MODULES[extra]:
        if module in distributions:
            assert set(distributions[module]) & needed_by(extra)


def test_the_package_needs_keras_and_numpy_alone():
    assert names_of(PROJECT["dependencies"]) == {"keras", "numpy"}
    oldest = ".".join(map(str, versions.OLDEST))
    assert f"keras>={oldest}" in PROJECT["dependencies"]


def test_no_version_is_refused_but_for_development():
    open_ended = [*PROJECT["dependencies"]]
    for extra, requirements in EXTRAS.items():
        open_ended += requirements if extra != "dev" else []
    assert [each for each in open_ended if re.search("==|<|~", each)] == []


def test_requirements_of_the_launch_scripts_hold_every_extra_of_training():
    lines = (launching.ROOT / "requirements.txt").read_text().splitlines()
    pinned = names_of(line for line in lines if not line.startswith("#"))
    needed = names_of([*PROJECT["dependencies"], *EXTRAS["train"]])
    assert pinned == needed | {"keras-tuner"}
    assert names_of(EXTRAS["plot"]) < needed
