"""Hyperparameters of this library, for searches with KerasTuner.

`optimizer(hp)` is for a model-building function of one's own, on every backend
that KerasTuner runs on. `hypermodel(settings, space)` makes runs of the
training binary the models of a search. `links.resolve` makes the values of a
search that follow from others, and `maps.findings` tells what a map of two of
them shows.
"""

import importlib

from tfwd import extras

extras.require("tfwd.tuning", "tune", "keras_tuner", *extras.MODULES["train"])

_MODULES = {
    "coordinates": "coordinates",
    "grid": "maps.grid",
    "links": "values.links",
    "maps": "maps",
    "trials": "output.trials",
}
_MEMBERS = {
    "hypermodel": ("settings_hypermodel", "SettingsHyperModel"),
    "optimizer": ("search_space", "optimizer"),
}
__all__ = sorted([*_MODULES, *_MEMBERS])


def __getattr__(name):
    # The flags of a search are read beside these, which need TensorFlow.
    if name in _MEMBERS:
        module, member = _MEMBERS[name]
        return getattr(importlib.import_module(f"tfwd.tuning.{module}"), member)
    if name in _MODULES:
        return importlib.import_module(f"tfwd.tuning.{_MODULES[name]}")
    raise AttributeError(f"module 'tfwd.tuning' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
