"""What of TensorFlow's log is left out, and what a command says by itself."""

import os
import pathlib
import subprocess
import sys

import pytest

from tfwd import quiet

ROOT = pathlib.Path(__file__).parents[1]
INFO = b"I0000 00:00:1796028804.891 7352 port.cc:153] oneDNN custom operations"
NOISE = [
    b"WARNING: All log messages before absl::InitializeLog() is called are",
    INFO,
    b"To enable the following instructions: AVX2, rebuild TensorFlow",
    b"W0000 00:00:1796028804.891 7352 a.cc:1] computation placer already",
    b"E0000 00:00:1 7352 cuda_platform.cc:52] failed call to cuInit: INTERNAL",
    b"E0000 00:00:1 7352 cuda_dnn.cc:8579] Unable to register cuDNN factory",
    b"2026-11-30 08:00:00.000000: I tensorflow/core/util/port.cc:153] oneDNN",
]
ERRORS = [
    b"E0000 00:00:1 7352 a.cc:1] Out of memory",
    b"F0000 00:00:1 7352 a.cc:1] Compiled to use AVX instructions",
    b"Traceback (most recent call last):",
    b"ImportError: libstdc++.so.6: cannot open shared object file",
    b"Intel CPU is not supported",
]


@pytest.mark.parametrize("line", NOISE, ids=lambda line: line[:12].decode())
def test_report_is_told_from_an_error(line):
    assert quiet.is_report(line, 2)


@pytest.mark.parametrize("line", ERRORS, ids=lambda line: line[:12].decode())
def test_error_is_no_report(line):
    assert not quiet.is_report(line, 2)


def test_level_is_that_of_the_environment():
    warning, error = NOISE[3], ERRORS[0]
    assert [quiet.is_report(INFO, level) for level in (1, 2, 3)] == [True] * 3
    assert [quiet.is_report(warning, n) for n in (1, 2, 3)] == [0, 1, 1]
    assert [quiet.is_report(error, n) for n in (1, 2, 3)] == [0, 0, 1]


def run(program, *arguments, **environment):
    """A process's exit code and what it wrote to its two streams."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    environment = {k: v for k, v in environment.items() if v is not None}
    result = subprocess.run(
        [sys.executable, *program, *arguments],
        capture_output=True,
        text=True,
        env=environment,
    )
    return result.returncode, result.stdout, result.stderr


WRITES = """
import os, sys
from tfwd import quiet
with quiet.without_reports(sys.argv[1]):
    for line in sys.argv[2:-1]:
        os.write(2, line.encode() + b"\\n")
    {end}
os.write(2, b"after\\n")
"""


@pytest.mark.parametrize(
    ("level", "end", "code", "left"),
    [
        ("2", "", 0, ["an error", "after"]),
        ("0", "", 0, [INFO.decode(), "an error", "after"]),
        ("many", "", 0, [INFO.decode(), "an error", "after"]),
        # The last words of a process that TensorFlow ends.
        ("2", "os.abort()", -6, ["an error"]),
    ],
)
def test_what_is_no_report_is_written_by_a_process_however_it_ends(
    level, end, code, left
):
    # Without the package's own import, which brings TensorFlow.
    program = WRITES.format(end=end).replace(
        "from tfwd import quiet",
        "import importlib.util as u\n"
        f"s = u.spec_from_file_location('quiet', {quiet.__file__!r})\n"
        "quiet = u.module_from_spec(s); s.loader.exec_module(quiet)",
    )
    found = run(["-c", program], level, INFO.decode(), "an error", "")
    assert found[0] == code
    assert found[2].splitlines() == left


def imported(*command, **environment):
    """Modules that a command imports, exit code, stdout, lines of stderr."""
    program = ["-X", "importtime", "-m", *command]
    code, out, err = run(program, **environment)
    modules, rest = set(), []
    for line in err.splitlines():
        if line.startswith("import time:"):
            modules.add(line.rpartition("|")[2].strip())
        else:
            rest.append(line)
    return modules, code, out, rest


@pytest.mark.parametrize("binary", ["tfwd.train", "tfwd.tune", "tfwd.diagnose"])
@pytest.mark.parametrize(
    ("argument", "code"), [("--help", 0), ("--no_such_flag", 2)]
)
def test_flags_need_no_tensorflow(binary, argument, code):
    modules, found, out, rest = imported(binary, argument)
    assert (found, len(rest)) == (code, code and 1)
    assert "absl.flags" in modules
    roots = {name.partition(".")[0] for name in modules}
    slow = {"tensorflow", "tensorflow_datasets", "keras", "jax", "matplotlib"}
    assert not roots & (slow | {"keras_tuner"})
    assert ("--dataset:" in out) == (argument == "--help")


def test_command_imports_what_models_are_saved_with_and_says_nothing(tmp_path):
    import keras

    import tfwd

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(10, name="logits"))
    model.compile(tfwd.AdamS(tfwd.schedules.Warmup(0.01, 3)), "mse")
    model.save(tmp_path / "a.keras")
    file = f"--model_file={tmp_path / 'a.keras'}"
    modules, code, out, rest = imported(
        "tfwd.train", "--mode=eval", file, TF_CPP_MIN_LOG_LEVEL=None
    )
    assert (code, rest) == (0, [])
    assert out.split()[:2] == ["loss", "accuracy"]
    # Keras has looked for matplotlib, which was not found.
    assert "tensorflow" in modules and "matplotlib.figure" not in modules


def test_search_says_nothing_but_what_it_will_take():
    modules, code, out, rest = imported(
        "tfwd.tune",
        *("--search=learning_rate=choice:0.1", "--hidden_units=4"),
        *("--num_validation=300", "--epochs=1", "--dry_run"),
        TF_CPP_MIN_LOG_LEVEL=None,
    )
    assert (code, rest) == (0, [])
    assert out.splitlines()[0] == "0 learning_rate=0.1"
    assert "keras_tuner" in modules


def test_benchmark_and_the_process_that_it_starts_say_nothing():
    code, out, err = run(
        ["-m", "tfwd_tests.benchmarks.full_size"],
        "--quick",
        "--models=lstm",
        TF_CPP_MIN_LOG_LEVEL=None,
    )
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("lstm")


def test_benchmarks_on_jax_need_no_tensorflow():
    program = (
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "from tfwd_tests.benchmarks import kfac\n"
    )
    assert run(["-c", program], KERAS_BACKEND="jax")[0] == 0


def test_warning_and_failure_of_an_import_are_written(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os, warnings\n"
        "warnings.warn('a warning')\n"
        f"os.write(2, {INFO!r} + os.linesep.encode())\n"
        "raise ImportError('no library')\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    code, out, err = run(
        ["-m", "tfwd.train", f"--output_dir={tmp_path / 'run'}"],
        PYTHONPATH=paths,
        TF_CPP_MIN_LOG_LEVEL=None,
    )
    assert (code, out) == (1, "")
    assert err.startswith("a warning\n")
    assert err.endswith("ImportError: no library\n")
    assert INFO.decode() not in err
