"""Two virtual CPU devices for every test, on TensorFlow and on JAX.

A test file whose name begins with a backend is collected on that one alone.
Tests and cases marked `full` take more than ten seconds and run under `--full`
only. Off TensorFlow, where every case is compiled, so do those marked `many`.
`--rest` runs what `--full` adds, but for the tests marked `kills`. A test or
case that is named, as in `pytest path::test[case]`, always runs.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=2"
)

import keras
import pytest

BACKEND = keras.backend.backend()
collect_ignore_glob = [
    f"*/{other}_*_test.py"
    for other in ("tensorflow", "jax", "torch")
    if other != BACKEND
]

if BACKEND == "tensorflow":
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="run the tests marked `full` too"
    )
    parser.addoption(
        "--rest",
        action="store_true",
        help="run what --full adds alone, but for the tests marked `kills`",
    )


def pytest_collection_modifyitems(config, items):
    # First what starts processes and waits for them, so that it is not last.
    items.sort(key=lambda item: "/survival/" not in item.path.as_posix())
    if config.getoption("--full"):
        return
    named = _named_tests(config)
    long_marks = {"full"} if BACKEND == "tensorflow" else {"full", "many"}
    quick, long = [], []
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        if marks & long_marks and not _is_named(item, named):
            long.append(item)
        else:
            quick.append(item)
    if config.getoption("--rest"):
        rest = [item for item in long if not item.get_closest_marker("kills")]
        others = [item for item in items if item not in rest]
        items[:] = rest
    else:
        others, items[:] = long, quick
    config.hook.pytest_deselected(items=others)


def _named_tests(config):
    """Returns (path, name) of each argument `path::name`."""
    arguments = (str(each).partition("::") for each in config.args)
    folder = config.invocation_params.dir
    return [
        ((folder / path).resolve(), name)
        for path, colons, name in arguments
        if colons
    ]


def _is_named(item, named):
    name = item.nodeid.partition("::")[2]
    return any(
        item.path == path and (name == wanted or name.startswith(wanted + "["))
        for path, wanted in named
    )


def _refuse_determinism():
    raise AssertionError(
        "Deterministic ops, which Keras never compiles by XLA, cannot be "
        "switched off again: the test needs a process of its own."
    )


@pytest.fixture(autouse=True)
def without_determinism(monkeypatch):
    """Keeps one test from changing how all later ones are compiled."""
    if BACKEND == "tensorflow":
        monkeypatch.setattr(
            tf.config.experimental,
            "enable_op_determinism",
            _refuse_determinism,
        )


@pytest.fixture(autouse=True)
def seeded():
    """Gives every test the same seeds, whatever ran before it."""
    keras.utils.set_random_seed(1)
