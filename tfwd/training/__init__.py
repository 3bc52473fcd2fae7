"""Training: settings, strategy, loop, logs and the output folder.

`run` trains with `Settings`, as the binary does, and calls Keras callbacks.
"""

import importlib

from tfwd import extras

extras.require("tfwd.training", "train")

_MEMBERS = {
    "Result": ("runs.result", "Result"),
    "Settings": ("config.settings", "Settings"),
    "run": ("runs.result", "run"),
}
__all__ = sorted(_MEMBERS)


def __getattr__(name):
    # Flags are read beside these, and do not wait for TensorFlow.
    if name in _MEMBERS:
        module, member = _MEMBERS[name]
        return getattr(
            importlib.import_module(f"tfwd.training.{module}"), member
        )
    raise AttributeError(f"module 'tfwd.training' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
