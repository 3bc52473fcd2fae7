"""Hyperparameters of this library, for searches with KerasTuner.

`optimizer(hp)` is for a model-building function of one's own, on every backend
that KerasTuner runs on. `links.resolve` makes the values of a search that
follow from others, and `maps.findings` tells what a map of two of them shows.
"""

import importlib

from tfwd import extras

extras.require("tfwd.tuning", "tune", "keras_tuner", *extras.MODULES["train"])

__all__ = ["coordinates", "grid", "links", "maps", "optimizer", "trials"]


def __getattr__(name):
    # The flags of a search are read beside these, which need TensorFlow.
    if name == "optimizer":
        from tfwd.tuning import search_space

        return search_space.optimizer
    if name in __all__:
        return importlib.import_module(f"tfwd.tuning.{name}")
    raise AttributeError(f"module 'tfwd.tuning' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
