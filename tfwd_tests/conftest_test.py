"""Which tests run without `--full`, tried on a small suite of its own."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

CONFTEST = pathlib.Path(__file__).parent / "conftest.py"
# In place of the real one, which takes seconds to import.
KERAS = """
import os

class backend:
    backend = staticmethod(lambda: os.environ["KERAS_BACKEND"])

class utils:
    set_random_seed = staticmethod(lambda seed: None)
"""
SUITE = """
import pytest

@pytest.mark.quick(2)
@pytest.mark.parametrize("case", ["a", "b", "c", "d"])
def test_cases(case):
    pass

@pytest.mark.quick(1)
@pytest.mark.parametrize("case", ["c", "d"])
def test_others(case):
    pass

@pytest.mark.full
def test_slow():
    pass

@pytest.mark.full
@pytest.mark.kills
def test_endless():
    pass

@pytest.mark.parametrize(
    "case", ["x", pytest.param("y", marks=pytest.mark.many)]
)
def test_abridged(case):
    pass

def test_plain():
    pass
"""
ALL = (
    *("cases[a]", "cases[b]", "cases[c]", "cases[d]", "others[c]"),
    *("others[d]", "slow", "endless", "abridged[x]", "abridged[y]", "plain"),
)
# What imports TensorFlow only to have two devices.
TENSORFLOW = """
class config:
    LogicalDeviceConfiguration = int
    list_physical_devices = staticmethod(lambda kind: [kind])
    set_logical_device_configuration = staticmethod(lambda device, parts: None)
"""
QUICK = ("cases[a]", "cases[b]", "others[c]", "abridged[x]", "plain")
FILE = "suite/small_test.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    (folder / "suite").mkdir()
    shutil.copy(CONFTEST, folder / "suite")
    (folder / FILE).write_text(SUITE)
    (folder / "keras.py").write_text(KERAS)
    (folder / "tensorflow.py").write_text(TENSORFLOW)
    (folder / "pytest.ini").write_text(
        "[pytest]\ntestpaths = suite\npython_files = *_test.py\n"
        "markers =\n    full\n    kills\n    many\n    quick(n)\n"
    )
    return folder


def run(folder, *arguments, inside=".", backend="none"):
    """Returns the exit code and which tests of the suite passed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"]
        + list(arguments),
        cwd=folder / inside,
        env={
            **os.environ,
            "PYTHONPATH": str(folder),
            "KERAS_BACKEND": backend,
        },
        capture_output=True,
        text=True,
    )
    passed = re.findall(r"::test_(\S+) PASSED", done.stdout)
    # As pytest-xdist writes it.
    passed += re.findall(r"PASSED \S+::test_(\S+)", done.stdout)
    return done.returncode, sorted(passed)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], QUICK),
        (["--full"], ALL),
        (["--rest"], sorted({*ALL} - {*QUICK, "endless"})),
        ([FILE], QUICK),
        # Counted among what is selected.
        (["-k", "d and not abridged"], ["cases[d]", "others[d]"]),
        (["-k", "cases and not b"], ["cases[a]", "cases[c]"]),
        (["-m", "quick"], ["cases[a]", "cases[b]", "others[c]"]),
        (
            ["--deselect", f"{FILE}::test_others[c]", "-k", "others"],
            ["others[d]"],
        ),
        # What is named runs.
        ([f"{FILE}::test_cases[d]"], ["cases[d]"]),
        ([f"{FILE}::test_cases"], ALL[:4]),
        ([f"{FILE}::test_slow"], ["slow"]),
        ([f"{FILE}::test_abridged[y]"], ["abridged[y]"]),
        (
            [f"{FILE}::test_slow", f"{FILE}::test_others"],
            ["others[c]", "others[d]", "slow"],
        ),
    ],
    ids=" ".join,
)
def test_tests_that_run(folder, arguments, expected):
    assert run(folder, *arguments) == (0, sorted(expected))


def test_on_tensorflow_all_cases_run_that_take_no_minutes(folder):
    long = {"slow", "endless"}
    assert run(folder, backend="tensorflow") == (0, sorted({*ALL} - long))
    rest = run(folder, "--rest", backend="tensorflow")
    assert rest == (0, ["slow"])


def test_names_count_from_where_pytest_was_started(folder):
    named = "small_test.py::test_cases[d]"
    assert run(folder, named, inside="suite") == (0, ["cases[d]"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-k", "cases and d"], ["cases[d]"]),
        (
            [f"{FILE}::test_cases[d]", f"{FILE}::test_slow"],
            ["cases[d]", "slow"],
        ),
    ],
)
def test_parallel_runs_select_the_same(folder, arguments, expected):
    assert run(folder, "-n", "2", *arguments) == (0, expected)


def test_selecting_only_what_is_long_selects_nothing(folder):
    assert run(folder, "-k", "slow") == (5, [])
