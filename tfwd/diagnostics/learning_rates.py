"""Learning rates in the unit of the weights they move.

Scaling the weights of a layer before a normalization by c leaves the model's
outputs alone and divides the gradient by c. A step of η from θ then turns θ
exactly as a step of η/‖θ‖² turns θ/‖θ‖: decay of such weights is a rise of
the learning rate.
"""

import numpy as np

from tfwd import arguments
from tfwd import types


def weight_norm(kernel: types.ArrayLike) -> float:
    """Returns ‖θ‖₂ of all elements together, summed in float64.

    Args:
        kernel: A variable, tensor or array of any shape; copied to the host.
    """
    values = arguments.check_array("kernel", kernel)
    with np.errstate(over="ignore"):
        return float(np.linalg.norm(values.ravel()))


def squared_norm(kernel: types.ArrayLike) -> float:
    """Returns ‖θ‖₂², summed in float64.

    Args:
        kernel: As in `weight_norm`.
    """
    values = arguments.check_array("kernel", kernel)
    with np.errstate(over="ignore"):
        return float(np.sum(values * values))


def effective_learning_rate(
    learning_rate: float, kernel: types.ArrayLike
) -> float:
    """Returns η/‖θ‖₂².

    Args:
        learning_rate: η of the step, a float of at least 0: the schedule's
            value, without a factor 1/(1 − momentum).
        kernel: θ, a layer's kernel alone, without its bias; copied to the
            host.

    Returns:
        A float; `inf` for a kernel of zeros, NaN for one that is not finite.

    Raises:
        ValueError: If `learning_rate` is negative or not finite.

    References:
        Zhang et al. 2019, Section 4.1 and Fig. 3; van Laarhoven 2017
        (https://arxiv.org/abs/1706.05350).
    """
    learning_rate = arguments.check_non_negative("learning_rate", learning_rate)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        norm = weight_norm(kernel)
        # η/∞ would be 0, a plausible rate.
        norm = norm if np.isfinite(norm) else np.nan
        return float(np.divide(learning_rate, norm**2))


def intrinsic_learning_rate(learning_rate: float, weight_decay: float) -> float:
    """Returns ηλ, the fraction of a weight that decays in one step.

    Args:
        learning_rate: η, a float of at least 0.
        weight_decay: λ, a float of at least 0; with mode `"stable"` the
            optimizer's `effective_weight_decay`.

    Raises:
        ValueError: If an argument is negative or not finite.

    References:
        Li, Lyu & Arora 2020 (https://arxiv.org/abs/2010.02916), Section 3.
    """
    learning_rate = arguments.check_non_negative("learning_rate", learning_rate)
    weight_decay = arguments.check_non_negative("weight_decay", weight_decay)
    return learning_rate * weight_decay


def expected_steps(learning_rate: float, weight_decay: float) -> float:
    """Returns 1/(ηλ), the steps after which 1/e of a weight is left.

    This is the time constant of Xie et al. 2022, Corollary 2, of a direction
    without curvature (Hᵢ ≪ λ), to first order in ηλ: the slowest there is, so
    a training much shorter than this has not forgotten its initial weights.

    Args:
        learning_rate: η, a float of at least 0.
        weight_decay: λ, a float of at least 0.

    Returns:
        A float; `inf` where nothing decays.

    Raises:
        ValueError: If an argument is negative or not finite.

    References:
        Xie et al. 2022, Section 3, Corollary 2, and Fig. 2, which trains for
        0.1/λ epochs.
    """
    rate = intrinsic_learning_rate(learning_rate, weight_decay)
    return 1 / rate if rate else float("inf")
