"""Keras callbacks: one for each feature, for `fit` and `tfwd.training` alike.

Of several processes that train together all measure and change the model, and
the chief alone writes files, prints and warns.
"""

import importlib

_MODULES = {
    "DecayScopeSwitch": "decay_scope_switch",
    "MechanismLogger": "mechanism_logger",
    "OvershootWarning": "overshoot_warning",
    "SkippedSteps": "skipped_steps",
    "WeightDecayLogger": "weight_decay_logger",
    "WeightNormTransfer": "weight_norm_transfer",
}
__all__ = sorted(_MODULES)


def __getattr__(name):
    # Some need `tfwd.diagnostics`, which torch does not have.
    if name in _MODULES:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
