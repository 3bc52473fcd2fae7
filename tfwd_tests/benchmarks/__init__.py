"""The benchmarks, which begin without TensorFlow's reports on the machine."""

import importlib.util
import os
import pathlib


def _quiet():
    """Returns `tfwd.quiet` without its package, which imports Keras."""
    path = pathlib.Path(__file__).parents[2] / "tfwd" / "quiet.py"
    spec = importlib.util.spec_from_file_location("quiet", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
    _quiet().import_tensorflow()
