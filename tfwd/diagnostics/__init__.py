"""The three mechanisms of weight decay, measured and intervened in.

Measures of a model on data are functions here; what they are made of has a
module for each quantity. `Mechanisms` measures several in one pass;
`tfwd.callbacks` has what does so, or intervenes, while a model trains.
"""

import importlib
import warnings

from tfwd.diagnostics import convergence
from tfwd.diagnostics import mechanisms
from tfwd.diagnostics import scale_invariance
from tfwd.diagnostics import table
from tfwd.diagnostics.estimates import Mean
from tfwd.diagnostics.layer_damping import damping_ratio
from tfwd.diagnostics.layer_damping import effective_damping
from tfwd.diagnostics.learning_rates import effective_learning_rate
from tfwd.diagnostics.learning_rates import expected_steps
from tfwd.diagnostics.learning_rates import intrinsic_learning_rate
from tfwd.diagnostics.learning_rates import weight_norm
from tfwd.diagnostics.mechanisms import Mechanisms
from tfwd.diagnostics.metrics import curvature_traces
from tfwd.diagnostics.metrics import fisher_rao_norm
from tfwd.diagnostics.metrics import gauss_newton_norm
from tfwd.diagnostics.metrics import generalization_gap
from tfwd.diagnostics.metrics import kfac_gauss_newton_norm
from tfwd.diagnostics.metrics import squared_jacobian_norm
from tfwd.diagnostics.scale_invariance import decay_scope
from tfwd.diagnostics.scale_invariance import weight_layers

__all__ = [
    "Mean",
    "Mechanisms",
    "convergence",
    "curvature_traces",
    "damping_ratio",
    "decay_scope",
    "effective_damping",
    "effective_learning_rate",
    "expected_steps",
    "fisher_rao_norm",
    "gauss_newton_norm",
    "generalization_gap",
    "intrinsic_learning_rate",
    "kfac_gauss_newton_norm",
    "mechanisms",
    "scale_invariance",
    "squared_jacobian_norm",
    "table",
    "weight_layers",
    "weight_norm",
]


_MOVED = ("DecayScopeSwitch", "MechanismLogger", "WeightNormTransfer")


def __getattr__(name):
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"`tfwd.diagnostics.{name}` goes with the next version; use "
        f"`tfwd.callbacks.{name}`.",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(importlib.import_module("tfwd.callbacks"), name)


def __dir__():
    return sorted(__all__)
