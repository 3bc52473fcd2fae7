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

@pytest.mark.parametrize(
    "case", [pytest.param("a", marks=pytest.mark.many), "b"]
)
@pytest.mark.parametrize(
    "other", ["c", pytest.param("d", marks=pytest.mark.full)]
)
def test_cases(case, other):
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

@pytest.mark.many
def test_compiled():
    pass

def test_plain():
    pass
"""
ALL = (
    *("cases[c-a]", "cases[c-b]", "cases[d-a]", "cases[d-b]", "slow"),
    *("endless", "abridged[x]", "abridged[y]", "compiled", "plain"),
)
# What imports TensorFlow only to have two devices.
TENSORFLOW = """
class config:
    LogicalDeviceConfiguration = int
    list_physical_devices = staticmethod(lambda kind: [kind])
    set_logical_device_configuration = staticmethod(lambda device, parts: None)

    class experimental:
        enable_op_determinism = None
"""
QUICK = ("cases[c-b]", "abridged[x]", "plain")
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
        "markers =\n    full\n    kills\n    many\n"
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
        # Whatever else is selected.
        (["-k", "cases"], ["cases[c-b]"]),
        (["-k", "abridged"], ["abridged[x]"]),
        (["-m", "not full"], QUICK),
        (["--deselect", f"{FILE}::test_plain"], QUICK[:2]),
        # What is named runs.
        ([f"{FILE}::test_cases[d-a]"], ["cases[d-a]"]),
        ([f"{FILE}::test_cases"], ALL[:4]),
        ([f"{FILE}::test_slow"], ["slow"]),
        ([f"{FILE}::test_abridged[y]"], ["abridged[y]"]),
        (
            [f"{FILE}::test_slow", f"{FILE}::test_abridged"],
            ["abridged[x]", "abridged[y]", "slow"],
        ),
    ],
    ids=" ".join,
)
def test_tests_that_run(folder, arguments, expected):
    assert run(folder, *arguments) == (0, sorted(expected))


def test_on_tensorflow_all_cases_run_that_take_no_minutes(folder):
    long = {"slow", "endless", "cases[d-a]", "cases[d-b]"}
    assert run(folder, backend="tensorflow") == (0, sorted({*ALL} - long))
    rest = run(folder, "--rest", backend="tensorflow")
    assert rest == (0, ["cases[d-a]", "cases[d-b]", "slow"])


def test_names_count_from_where_pytest_was_started(folder):
    named = "small_test.py::test_cases[d-b]"
    assert run(folder, named, inside="suite") == (0, ["cases[d-b]"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-k", "cases"], ["cases[c-b]"]),
        (
            [f"{FILE}::test_cases[d-a]", f"{FILE}::test_slow"],
            ["cases[d-a]", "slow"],
        ),
    ],
)
def test_parallel_runs_select_the_same(folder, arguments, expected):
    assert run(folder, "-n", "2", *arguments) == (0, expected)


def test_selecting_only_what_is_long_selects_nothing(folder):
    for long in ("slow", "compiled"):
        assert run(folder, "-k", long) == (5, [])
