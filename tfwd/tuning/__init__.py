"""Hyperparameters of this library, for searches with KerasTuner.

`optimizer(hp)` is for a model-building function of one's own, on every backend
that KerasTuner runs on. `links.resolve` makes the values of a search that
follow from others, and `maps.findings` tells what a map of two of them shows.
"""

from tfwd import extras

extras.require("tfwd.tuning", "tune", "keras_tuner", *extras.MODULES["train"])

from tfwd.tuning import coordinates  # noqa: E402
from tfwd.tuning import grid  # noqa: E402
from tfwd.tuning import links  # noqa: E402
from tfwd.tuning import maps  # noqa: E402
from tfwd.tuning import trials  # noqa: E402
from tfwd.tuning.search_space import optimizer  # noqa: E402

__all__ = ["coordinates", "grid", "links", "maps", "optimizer", "trials"]
