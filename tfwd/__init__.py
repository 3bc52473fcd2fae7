"""Weight decay for Keras 3: chosen, exact and inspectable.

Importing the package imports, and so registers with Keras, whatever a saved
model of this library can hold: the optimizers, K-FAC among them, their
schedules, and the layers of `tfwd.models`. The other rooms (`tfwd.data`,
`tfwd.diagnostics`, `tfwd.training`) are imported when they are first used,
since some of them need TensorFlow, and so is `tfwd.decay_scope`, the function
`tfwd.diagnostics.decay_scope.patterns`.

The binaries, `tfwd.train`, `tfwd.diagnose` and `tfwd.data.prepare`, have this
package imported on the way to them, but read their flags before anything that
takes seconds; they and their rooms need the extra `train`.
"""

import importlib
import sys

from tfwd import extras

__version__ = "0.1.0"

_ROOMS = ("data", "diagnostics", "training")
_BINARIES = ("tfwd.train", "tfwd.diagnose", "tfwd.data.prepare")


def _binary_on_the_way():
    """The binary that Python is looking for, to run it, or None."""
    words = sys.orig_argv
    # It says so as long as it has no path to put there.
    if sys.argv[:1] != ["-m"]:
        return None
    for name in _BINARIES:
        if any(words[i : i + 2] == ["-m", name] for i in range(len(words))):
            return name
    return None


if _binary := _binary_on_the_way():
    extras.require_or_exit(_binary, "train")
else:
    from tfwd import kfac
    from tfwd import models  # noqa: F401
    from tfwd import optimizers
    from tfwd.kfac import *  # noqa: F403
    from tfwd.optimizers import *  # noqa: F403

    __all__ = [
        *kfac.__all__,
        *(name for name in optimizers.__all__ if name != "OPTIMIZERS"),
    ]


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"tfwd.{name}")
    if name == "decay_scope":
        return importlib.import_module("tfwd.diagnostics.decay_scope").patterns
    raise AttributeError(f"module 'tfwd' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_ROOMS, "decay_scope"})
