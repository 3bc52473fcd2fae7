"""Weight decay for Keras 3: chosen, exact and inspectable.

Importing the package imports, and so registers with Keras, whatever a saved
model of this library can hold: the optimizers, K-FAC among them, their
schedules, and the layers of `tfwd.models`. The other rooms (`tfwd.callbacks`,
`tfwd.data`, `tfwd.diagnostics`, `tfwd.training`, `tfwd.tuning`) are imported
when they are first used, since some of them need TensorFlow, and so are the
callbacks and the functions `tfwd.decay_exclusions`,
`tfwd.diagnostics.decay_scope.patterns`, and `tfwd.layerwise`,
`tfwd.diagnostics.layerwise.multipliers`.

The binaries, `tfwd.train`, `tfwd.tune` and `tfwd.diagnose`, have this package
imported on the way to them, but read their flags before anything that takes
seconds; they and their rooms need the extra `train`, the search `tune`.
"""

import importlib
import warnings

from tfwd import binaries
from tfwd import extras

__version__ = "0.1.0"

__all__ = []
_CALLBACKS = ("OvershootWarning", "SkippedSteps", "WeightDecayLogger")
_ROOMS = (
    *("callbacks", "data", "diagnostics", "kfac", "models", "optimizers"),
    *("training", "tuning"),
)

if _binary := binaries.looked_for():
    extras.require_or_exit(
        _binary, "tune" if _binary == "tfwd.tune" else "train"
    )
else:
    from tfwd import kfac
    from tfwd import models  # noqa: F401
    from tfwd import optimizers
    from tfwd import scaling  # noqa: F401
    from tfwd import schedules  # noqa: F401
    from tfwd.kfac import *  # noqa: F403
    from tfwd.optimizers import *  # noqa: F403

    __all__ += [
        *kfac.__all__,
        *(name for name in optimizers.__all__ if name != "OPTIMIZERS"),
        *_CALLBACKS,
        "scaling",
        "schedules",
    ]


_FUNCTIONS = {
    "decay_exclusions": (
        "tfwd.diagnostics.scale_invariance.decay_scope",
        "patterns",
    ),
    "layerwise": ("tfwd.diagnostics.layerwise", "multipliers"),
}


def __getattr__(name):
    if name == "decay_scope":
        name = "decay_exclusions"
        warnings.warn(
            "`tfwd.decay_scope` goes with the next version; use "
            f"`tfwd.{name}`.",
            DeprecationWarning,
            stacklevel=2,
        )
    if name in _ROOMS:
        return importlib.import_module(f"tfwd.{name}")
    if name in _CALLBACKS:
        return getattr(importlib.import_module("tfwd.callbacks"), name)
    if name in _FUNCTIONS:
        module, function = _FUNCTIONS[name]
        return getattr(importlib.import_module(module), function)
    raise AttributeError(f"module 'tfwd' has no attribute {name!r}")


def __dir__():
    return sorted([*__all__, *_ROOMS, *_FUNCTIONS, "__version__"])
