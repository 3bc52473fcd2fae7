"""Which kernels may be multiplied by any c > 0 without changing the network."""

from tfwd.diagnostics.scale_invariance.kernels import ScaleInvariance
from tfwd.diagnostics.scale_invariance.kernels import confirm
from tfwd.diagnostics.scale_invariance.kernels import of_model

__all__ = ["ScaleInvariance", "confirm", "of_model"]
