"""launch/test.sh, with a stand-in for Python that writes down what it got."""

import json
import sys

import pytest

from tfwd_tests import launching

# In place of pytest it leaves with the code that CODES has for the backend,
# 5 being that of pytest where nothing is collected, and where it only collects,
# with that of WITH_FULL. torch is not installed.
PYTHON = f"""#!{sys.executable} -IS
import json, os, pathlib, sys

if sys.argv[1:] == ["-c", "import torch"]:
    sys.exit(int("torch" not in os.environ["CODES"]))
if sys.argv[1] != "-m":
    os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])
if sys.argv[2] != "pytest":
    sys.exit(0)
backend = os.environ["KERAS_BACKEND"]
if "--collect-only" in sys.argv:
    assert "--full" in sys.argv
    sys.exit(json.loads(os.environ["WITH_FULL"])[backend])
path = pathlib.Path(os.environ["RECORDS"], backend + ".json")
path.write_text(json.dumps(sys.argv[3:]))
sys.exit(json.loads(os.environ["CODES"])[backend])
"""
FILES = (
    *("data/text_test.py", "kfac/exactness_test.py", "kfac/fit_test.py"),
    *("optimizers/fit_test.py", "models/dropout_test.py", "hashing_test.py"),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = launching.copy_to(tmp_path_factory.mktemp("check out"))
    (root / ".venv" / "bin" / "python").write_text(PYTHON)
    for name in FILES:
        path = root / "tfwd_tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.fixture
def run(root, tmp_path):
    launcher = launching.Launcher(root, tmp_path)

    def run_script(*arguments, workers=1, with_full=None, **codes):
        """Returns the exit code, what pytest got per backend, the last line."""
        code, _, err = launcher.run(
            "test.sh",
            *arguments,
            CODES=json.dumps(codes),
            WITH_FULL=json.dumps(with_full or codes),
            TEST_WORKERS=str(workers),
        )
        received = {
            path.stem: json.loads(path.read_text())
            for path in sorted(launcher.records.glob("*.json"))
        }
        return code, received, err.strip().rpartition("\n")[2]

    return run_script


def test_without_arguments_every_backend_runs_its_list(run):
    code, received, _ = run(tensorflow=0, jax=0, torch=0)
    assert code == 0
    assert list(received) == ["jax", "tensorflow", "torch"]
    assert received["tensorflow"] == ["tfwd_tests"]
    assert "tfwd_tests/kfac/exactness_test.py" in received["jax"]
    assert "tfwd_tests/optimizers" in received["torch"]


def test_rest_is_tensorflows(run):
    code, received, _ = run("--rest", tensorflow=0, jax=1, torch=1)
    assert (code, received) == (0, {"tensorflow": ["--rest", "tfwd_tests"]})


def test_several_workers_go_to_pytest(run):
    _, received, _ = run(workers=3, tensorflow=0, jax=0)
    assert received["tensorflow"][:2] == ["-n", "3"]


@pytest.mark.parametrize(
    "arguments", [(), ("-x",), ("-v", "--full"), ("--tb", "short"), ("-n", "2")]
)
@pytest.mark.parametrize("codes", [(5, 0), (0, 5)])
def test_nothing_collected_is_a_failure_where_nothing_is_selected(
    run, arguments, codes
):
    code, _, _ = run(*arguments, tensorflow=codes[0], jax=codes[1])
    assert code == 5


SELECTIONS = [
    ("-k", "stable"),
    ("-kstable",),
    ("-xk", "stable"),
    ("-x", "-m", "many"),
    ("--full", "-k", "stable"),
    ("tfwd_tests/hashing_test.py",),
    ("--deselect", "tfwd_tests/hashing_test.py"),
]


@pytest.mark.parametrize("selection", SELECTIONS, ids=" ".join)
@pytest.mark.parametrize("codes", [(5, 0), (0, 5)])
def test_selection_may_leave_one_backend_nothing(run, selection, codes):
    code, received, _ = run(*selection, tensorflow=codes[0], jax=codes[1])
    assert (code, list(received)) == (0, ["jax", "tensorflow"])


@pytest.mark.parametrize("selection", SELECTIONS, ids=" ".join)
def test_selection_of_nothing_at_all_is_an_error(run, selection):
    code, _, line = run(*selection, tensorflow=5, jax=5)
    assert code == 1
    assert line == (
        "test.sh: the arguments must select a test of some backend. Received: "
        + " ".join(selection)
    )


@pytest.mark.parametrize("selection", SELECTIONS, ids=" ".join)
@pytest.mark.parametrize("codes", [(5, 0), (0, 5)])
def test_backend_whose_selected_tests_all_need_full_is_a_failure(
    run, selection, codes
):
    code, _, line = run(
        *selection,
        tensorflow=codes[0],
        jax=codes[1],
        with_full={"tensorflow": 0, "jax": 0},
    )
    assert code == 1
    backend = "tensorflow" if codes[0] else "jax"
    rule = f"test.sh: all tests that are selected need --full on {backend}."
    assert line.startswith(rule)


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (5, 1), (2, 5), (4, 0)])
def test_failure_of_one_backend_is_that_of_the_script(run, codes):
    code, _, _ = run("-k", "a", tensorflow=codes[0], jax=codes[1])
    assert code == next(each for each in codes if each not in (0, 5))


@pytest.mark.parametrize(
    ("named", "on_jax"),
    [
        ("tfwd_tests/data/text_test.py", None),
        ("tfwd_tests/hashing_test.py", "tfwd_tests/hashing_test.py"),
        ("./tfwd_tests/hashing_test.py", "tfwd_tests/hashing_test.py"),
        ("tfwd_tests/kfac", "tfwd_tests/kfac/exactness_test.py"),
        ("tfwd_tests/kfac/", "tfwd_tests/kfac/exactness_test.py"),
        ("tfwd_tests/kfac/fit_test.py", None),
        (
            "tfwd_tests/kfac/exactness_test.py::test_a[x/y]",
            "tfwd_tests/kfac/exactness_test.py::test_a[x/y]",
        ),
    ],
)
def test_each_backend_runs_its_part_of_what_is_named(run, named, on_jax):
    code, received, _ = run("-x", named, tensorflow=0, jax=0)
    assert code == 0
    assert received["tensorflow"] == ["-x", named.removeprefix("./")]
    assert received.get("jax") == (None if on_jax is None else ["-x", on_jax])


def test_value_of_an_option_is_no_path(run):
    _, received, _ = run("-k", "tfwd_tests", tensorflow=0, jax=0)
    assert received["tensorflow"] == ["-k", "tfwd_tests", "tfwd_tests"]
