"""Two virtual CPU devices for every test, on TensorFlow and on JAX.

A test file whose name begins with a backend is collected on that one alone.
Tests marked `full` take minutes and run under `--full` only; of one marked
`quick(n)` the first n cases run without it, too.
"""

import collections
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


def pytest_collection_modifyitems(config, items):
    # First what starts processes and waits for them, so that it is not last.
    items.sort(key=lambda item: "/survival/" not in item.path.as_posix())
    if config.getoption("--full"):
        return
    long = [item for item in items if item.get_closest_marker("full")]
    cases = collections.Counter()
    for item in items:
        marker = item.get_closest_marker("quick")
        if marker is not None:
            test = (item.path, item.originalname)
            cases[test] += 1
            if cases[test] > marker.args[0]:
                long.append(item)
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.fixture(autouse=True)
def seeded():
    """Gives every test the same seeds, whatever ran before it."""
    keras.utils.set_random_seed(1)
