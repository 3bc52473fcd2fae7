"""First-order optimizers with exact weight decay, for every Keras backend."""

import importlib
import warnings

import keras

from tfwd import scaling as _scaling  # noqa: F401
from tfwd import schedules as _schedules  # noqa: F401
from tfwd import versions
from tfwd.optimizers.adabound import AdaBound
from tfwd.optimizers.adai import Adai
from tfwd.optimizers.adai import AdaiS
from tfwd.optimizers.adai import AdaiW
from tfwd.optimizers.adam import Adam
from tfwd.optimizers.adam import AdamS
from tfwd.optimizers.adam import AdamW
from tfwd.optimizers.amsgrad import AMSGrad
from tfwd.optimizers.amsgrad import AMSGradS
from tfwd.optimizers.amsgrad import AMSGradW
from tfwd.optimizers.padam import Padam
from tfwd.optimizers.radam import RAdam
from tfwd.optimizers.sgd import SGD
from tfwd.optimizers.sgd import SGDS
from tfwd.optimizers.sgd import SGDW
from tfwd.optimizers.yogi import Yogi

versions.warn_if_untried(keras.__version__)

_CLASSES = (
    *(SGD, SGDW, SGDS),
    *(Adam, AdamW, AdamS),
    *(AMSGrad, AMSGradW, AMSGradS),
    *(Adai, AdaiW, AdaiS),
    *(AdaBound, Padam, Yogi, RAdam),
)
OPTIMIZERS = {cls.__name__.lower(): cls for cls in _CLASSES}

__all__ = [
    "OPTIMIZERS",
    *(cls.__name__ for cls in _CLASSES),
]

_CALLBACKS = ("OvershootWarning", "SkippedSteps", "WeightDecayLogger")
_MOVED = {
    "scaling": "tfwd.scaling",
    "schedules": "tfwd.schedules",
    **{name: f"tfwd.callbacks.{name}" for name in _CALLBACKS},
}


def __getattr__(name):
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"`tfwd.optimizers.{name}` goes with the next version; use "
        f"`{_MOVED[name]}`.",
        DeprecationWarning,
        stacklevel=2,
    )
    module, _, member = _MOVED[name].rpartition(".")
    return getattr(importlib.import_module(module), member)


def __dir__():
    return sorted(__all__)
