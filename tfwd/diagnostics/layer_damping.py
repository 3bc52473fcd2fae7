"""Damping in the unit of the curvature it is added to.

Where the outputs do not depend on the norm of a layer's weights,
C(θ) = C(θ̂)/‖θ‖² with θ̂ = θ/‖θ‖. A step by (C(θ) + λI)⁻¹ then turns θ exactly
as one by (C(θ̂) + ‖θ‖²λI)⁻¹ turns θ̂: decay of such weights lowers the damping.
Here λ is the damping, not a weight decay.
"""

import math

import numpy as np

from tfwd import arguments
from tfwd import types
from tfwd.diagnostics import learning_rates


def effective_damping(damping: float, kernel: types.ArrayLike) -> float:
    """Returns λ‖θ‖₂².

    Args:
        damping: λ, a float of at least 0, in units of the curvature C(θ).
        kernel: θ, a layer's kernel alone, without its bias; copied to the
            host.

    Returns:
        A float, in units of the curvature C(θ̂).

    Raises:
        ValueError: If `damping` is negative or not finite.

    References:
        Zhang et al. 2019, Eq. 14. The gradient there is that of the normalized
        weights, ∇L(θ̂) = ‖θ‖∇L(θ).
    """
    damping = arguments.check_non_negative("damping", damping)
    return damping * learning_rates.weight_norm(kernel) ** 2


def damping_ratio(
    damping: float, kernel: types.ArrayLike, trace: float, size: int
) -> float:
    """Returns λ‖θ‖₂² · size/tr C(θ̂).

    This is the damping over the mean eigenvalue of the curvature, without a
    unit: above 1 the layer's step is nearly that of SGD, far below 1 that of
    an undamped second-order method.

    Args:
        damping: λ, a float of at least 0.
        kernel: θ, a layer's kernel alone, without its bias; copied to the
            host.
        trace: tr C(θ̂), the trace of the kernel's block at the normalized
            weights, at least 0; ‖θ‖² times the trace of C(θ).
        size: Rows of C, the number of elements of `kernel`, at least 1.

    Returns:
        A float; `inf` for a trace of zero, `nan` if the damping is zero too.

    Raises:
        ValueError: For a value outside the ranges above.

    References:
        Zhang et al. 2019, Eq. 14 and Fig. 7, which shows tr C(θ̂).
    """
    effective = effective_damping(damping, kernel)
    trace = arguments.check_interval(
        "trace", trace, 0, math.inf, is_measured=True
    )
    size = arguments.check_integer("size", size, 1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return float(np.divide(effective * size, trace))
