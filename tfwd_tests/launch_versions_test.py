"""launch/test.sh with versions, and a stand-in for Python and its pip."""

import json
import re
import sys

import pytest

from tfwd import versions
from tfwd_tests import launching

# `-m venv` puts it into the new environment; what pip and pytest get there it
# writes down. pytest fails in the environment that FAILS names.
PYTHON = f"""#!{sys.executable} -IS
import json, os, pathlib, shutil, sys

if sys.argv[1:3] == ["-m", "venv"]:
    new = pathlib.Path(sys.argv[3], "bin")
    new.mkdir(parents=True)
    shutil.copy(__file__, new / "python")
    sys.exit(0)
if sys.argv[1] == "-" and sys.argv[2] in ("jax", "tensorflow", "torch"):
    print("| row of", sys.argv[2], "|")
    sys.exit(0)
if sys.argv[1] != "-m":
    os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])
if sys.argv[-1] == "--version":
    sys.exit(0)
name = pathlib.Path(__file__).parents[1].name
path = pathlib.Path(os.environ["RECORDS"], name + "." + sys.argv[2] + ".json")
record = dict(arguments=sys.argv[3:], backend=os.environ.get("KERAS_BACKEND"))
path.write_text(json.dumps(record))
if sys.argv[2] == "pytest":
    sys.exit(int(name == os.environ.get("FAILS")))
"""


@pytest.fixture
def run(tmp_path):
    root = launching.copy_to(tmp_path / "check out")
    launcher = launching.Launcher(root, tmp_path)
    launcher.add("python3", PYTHON)

    def run_script(*arguments, **environment):
        """Returns the exit code, output, errors, and {environment: record}."""
        done = launcher.run(
            "test.sh",
            *arguments,
            TEST_WORKERS="1",
            PYTHON="python3",
            **environment,
        )
        records = {}
        for path in sorted(launcher.records.glob("*.json")):
            name, tool = path.stem.rsplit(".", 1)
            record = json.loads(path.read_text())
            records.setdefault(name, {})[tool] = record
            path.unlink()
        return *done, records

    return run_script


def installed(record):
    """What pip is asked for, without its options and the extra's file."""
    arguments = record["pip"]["arguments"]
    return [each for each in arguments if re.match(r"[a-z]+==|tensor", each)]


def test_a_version_of_keras_gets_an_environment_of_its_own(run):
    code, _, _, records = run("--keras=3.12", "-x")
    assert (code, list(records)) == (0, ["jax-keras-3.12"])
    record = records["jax-keras-3.12"]
    assert installed(record) == ["keras==3.12.*"]
    assert any(each.endswith("[jax]") for each in record["pip"]["arguments"])
    assert record["pytest"]["backend"] == "jax"
    assert record["pytest"]["arguments"][0] == "-x"
    assert "tfwd_tests/kfac/exactness_test.py" in record["pytest"]["arguments"]


def test_an_environment_is_made_once(run):
    assert "pip" in run("--keras=3.12")[-1]["jax-keras-3.12"]
    assert list(run("--keras=3.12")[-1]["jax-keras-3.12"]) == ["pytest"]


@pytest.mark.parametrize(
    ("arguments", "name", "packages"),
    [
        (("--backend=jax",), "jax", []),
        (("--numpy=2.0",), "jax-numpy-2.0", ["numpy==2.0.*"]),
        (("--backend=torch",), "torch", ["torch==2.13.0"]),
        (
            ("--backend=tensorflow", "--keras=3.10", "--numpy=2.1"),
            "tensorflow-keras-3.10-numpy-2.1",
            ["tensorflow", "keras==3.10.*", "numpy==2.1.*"],
        ),
    ],
)
def test_what_is_not_named_is_the_newest(run, arguments, name, packages):
    code, _, _, records = run(*arguments)
    assert (code, list(records)) == (0, [name])
    assert installed(records[name]) == packages
    assert records[name]["pytest"]["backend"] == name.partition("-")[0]


def test_another_backend_is_refused(run):
    code, _, err, records = run("--backend=mxnet")
    assert (code, records) == (1, {})
    assert err == (
        "test.sh: `--backend` must be jax, tensorflow or torch. "
        "Received: mxnet\n"
    )


def test_a_failure_is_that_of_the_script(run):
    assert run("--keras=3.12", FAILS="jax-keras-3.12")[0] == 1


def test_the_matrix_runs_every_row_and_ends_with_a_table(run):
    code, out, _, records = run("--versions", FAILS="jax")
    assert code == 1
    oldest = ".".join(map(str, versions.OLDEST))
    names = set()
    for backend in ("jax", "tensorflow", "torch"):
        names |= {backend, f"{backend}-keras-{oldest}"}
    assert set(records) == names | {"jax-numpy-2.0"}
    assert all("pytest" in record for record in records.values())
    table = out.splitlines()[-2 - len(records) :]
    assert table[0] == "| Keras | NumPy | backend | tests |"
    assert table[2:].count("| row of torch |") == 2
