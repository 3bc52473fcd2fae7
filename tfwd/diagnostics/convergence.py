"""Where gradient descent with weight decay settles, and how fast.

The loss is ½(θ − θ*)ᵀH(θ − θ*), seen through gradients with noise of mean
zero. Shapes: the Hessian H [n, n], symmetric; its minimum θ*, the start θ₀ and
second moments v [n]. H may be an estimate, such as one layer's curvature.
Everything is numpy in float64 on the host, at a cost of O(n³).
"""

import numpy as np

from tfwd import arguments
from tfwd import types


def expected_deviation(
    hessian: types.ArrayLike,
    optimum: types.ArrayLike,
    start: types.ArrayLike,
    learning_rates: types.ArrayLike,
    weight_decay: float,
) -> np.ndarray:
    """Returns E[θₜ − θ*] of SGD without momentum, for t = 0, ..., T.

    ```
    θₜ = θₜ₋₁ − ηₜ(H(θₜ₋₁ − θ*) + noise) − ηₜλθₜ₋₁

    E[θₜ − θ*] = ∏ₖ[I − ηₖ(H + λI)] (θ₀ − H(H + λI)⁻¹θ*) − λ(H + λI)⁻¹θ*
    ```

    Args:
        hessian: H, [n, n].
        optimum: θ*, [n].
        start: θ₀, [n].
        learning_rates: η₁, ..., η_T, [T].
        weight_decay: λ >= 0.

    Returns:
        An array [T + 1, n].

    Raises:
        ValueError: If H is not symmetric, H + λI is not positive definite or
            λ is negative.

    References:
        Xie et al. 2022, Theorem 2. It is printed without the brackets around
        θ₀ − H(H + λI)⁻¹θ*, both terms of which the product multiplies; the
        proof's Eq. 20 and 21 leave out the last θ* and have the expectation of
        θₜ − H(H + λI)⁻¹θ* on the left, where it is that of θₜ − θ*.
    """
    matrix = _symmetric(hessian)
    weight_decay = arguments.check_non_negative("weight_decay", weight_decay)
    _balance(matrix, weight_decay, 1.0)
    eigenvalues, basis = np.linalg.eigh(matrix)
    optimum = _vector("optimum", optimum, matrix) @ basis
    start = _vector("start", start, matrix) @ basis
    fixed = shrinkage(eigenvalues, weight_decay) * optimum
    rates = _vector("learning_rates", learning_rates)[:, None]
    factors = 1 - rates * (eigenvalues + weight_decay)
    factors = np.vstack([np.ones_like(eigenvalues), factors])
    products = np.cumprod(factors, axis=0)
    return (products * (start - fixed) + fixed - optimum) @ basis.T


def shrinkage(eigenvalues: types.ArrayLike, weight_decay: float) -> np.ndarray:
    """Returns Hᵢ/(Hᵢ + λ), what decay leaves of θ* along an eigenvector of H.

    Directions of much curvature stay, those with Hᵢ ≪ λ vanish.

    Args:
        eigenvalues: Hᵢ, of any shape, with Hᵢ + λ > 0.
        weight_decay: λ >= 0.

    Raises:
        ValueError: If λ is negative, or a Hᵢ + λ is not positive.

    References:
        Xie et al. 2022, Corollary 1, which has it as θ − θ* = −λθ*/(Hᵢ + λ).
    """
    weight_decay = arguments.check_non_negative("weight_decay", weight_decay)
    eigenvalues = _array("eigenvalues", eigenvalues)
    balance = eigenvalues + weight_decay
    if (balance <= 0).any():
        raise ValueError(
            "`eigenvalues` plus the decay must be positive. Received: a "
            f"smallest sum of {balance.min():g}, weight_decay={weight_decay}"
        )
    return eigenvalues / balance


def time_constant(
    eigenvalues: types.ArrayLike, learning_rate: float, weight_decay: float
) -> np.ndarray:
    """Returns −1/log|1 − η(Hᵢ + λ)|, the steps per factor e of distance.

    The distance is that to where decay settles, along an eigenvector of H; the
    method is SGD without momentum. For η(Hᵢ + λ) ≪ 1 it is 1/((Hᵢ + λ)η).

    Args:
        eigenvalues: Hᵢ, of any shape.
        learning_rate: η >= 0.
        weight_decay: λ >= 0.

    Returns:
        Steps, of the shape of `eigenvalues`: `inf` where the distance does not
        shrink, for Hᵢ + λ <= 0 or η(Hᵢ + λ) >= 2.

    Raises:
        ValueError: If η or λ is negative.

    References:
        Xie et al. 2022, Corollary 2, which gives the order O(1/((Hᵢ + λ)η)).
    """
    learning_rate = arguments.check_non_negative("learning_rate", learning_rate)
    weight_decay = arguments.check_non_negative("weight_decay", weight_decay)
    eigenvalues = _array("eigenvalues", eigenvalues)
    share = learning_rate * (eigenvalues + weight_decay)
    # log|1 − x| by log1p: 1 − x alone would round a small x away.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rate = -np.log1p(np.where(share <= 1, -share, share - 2))
        return np.where(rate > 0, 1 / rate, np.inf)[()]


def bias(
    hessian: types.ArrayLike,
    optimum: types.ArrayLike,
    weight_decay: float,
    relative_decay: types.ArrayLike = 1.0,
) -> np.ndarray:
    """Returns θ − θ* where decay and gradient balance: H(θ − θ*) + λDθ = 0.

    ```
    θ − θ* = −λ(H + λD)⁻¹Dθ*
    ```

    D is diagonal: how strongly an optimizer decays each weight, relative to
    how strongly it follows its gradient.

    Args:
        hessian: H, [n, n].
        optimum: θ*, [n].
        weight_decay: λ >= 0.
        relative_decay: D, non-negative, a number or [n]. It is 1 for vanilla
            SGD, for every L2 penalty and for `tfwd.SGDS`,
            (1 − momentum)/(1 − dampening) for `tfwd.SGDW`, and
            `adam_relative_decay` for the Adam family.

    Returns:
        An array [n].

    Raises:
        ValueError: If H is not symmetric, H + λD is not positive definite or
            λ is negative.

    References:
        Xie et al. 2022, Corollary 1 (D = 1) and Eq. 9 to 11. AdamW's is often
        written −λv^½(H + λv^½)⁻¹θ*, which is this one where H is diagonal;
        else the root of v stands on the right of the inverse.
    """
    matrix = _symmetric(hessian)
    optimum = _vector("optimum", optimum, matrix)
    strength = _array("relative_decay", relative_decay)
    if strength.shape not in ((), optimum.shape) or (strength < 0).any():
        raise ValueError(
            "`relative_decay` must be a number of at least 0, or one for each "
            f"weight. Received: relative_decay={arguments.shown(strength)}"
        )
    weight_decay = arguments.check_non_negative("weight_decay", weight_decay)
    balance = _balance(matrix, weight_decay, strength)
    return -weight_decay * np.linalg.solve(balance, strength * optimum)


def adam_relative_decay(
    mode: types.DecayMode,
    second_moment: types.ArrayLike,
    adaptivity: float = 0.5,
) -> np.ndarray:
    """Returns D of `bias` for `tfwd.Adam`, given a v̂ that stands still.

    | mode          | D          | source                  |
    |---------------|------------|-------------------------|
    | `l2`          | 1          | g + λθ = 0, whatever v̂  |
    | `decoupled`   | v̂^½        | Eq. 9, AdamW            |
    | `elementwise` | 1          | Eq. 10                  |
    | `stable`      | v̂^½ v̄^(−p) | Eq. 11, AdamS for p = ½ |

    With p = ½ the last does not change where all of v̂ is scaled alike, as by
    noise that grows or fades; AdamW's does. ε is taken for zero.

    Args:
        mode: "l2", "decoupled", "elementwise" or "stable".
        second_moment: v̂, non-negative, [n]; v̄ is its mean.
        adaptivity: p in [0, 1] of mode `"stable"`.

    Returns:
        An array [n].

    Raises:
        ValueError: If the mode is not one of these, or p is out of range.

    References:
        Xie et al. 2022, Eq. 9 to 11.
    """
    modes = ("l2", "decoupled", "elementwise", "stable")
    arguments.check_choice("mode", mode, modes)
    adaptivity = arguments.check_interval("adaptivity", adaptivity, 0, 1)
    v = _array("second_moment", second_moment)
    if (v < 0).any():
        raise ValueError(
            "`second_moment` must not be negative. "
            f"Received: a smallest element of {v.min():g}"
        )
    if mode in ("l2", "elementwise"):
        return np.ones_like(v)
    if mode == "decoupled" or not v.any():
        return np.sqrt(v)
    return np.sqrt(v) * np.mean(v) ** -adaptivity


def _array(name, value) -> np.ndarray:
    return arguments.check_array(name, value, is_finite=True)


def _vector(name, value, matrix=None) -> np.ndarray:
    """Returns an array [n], as long as the matrix if there is one."""
    vector = _array(name, value)
    if vector.ndim != 1 or (matrix is not None and len(vector) != len(matrix)):
        length = "T" if matrix is None else len(matrix)
        raise ValueError(
            f"`{name}` must be an array [{length}]. "
            f"Received: an array of shape {vector.shape}"
        )
    return vector


def _symmetric(hessian) -> np.ndarray:
    matrix = _array("hessian", hessian)
    rows, *columns = matrix.shape or (0,)
    if columns != [rows] or not rows:
        raise ValueError(
            "`hessian` must be a square matrix. "
            f"Received: an array of shape {matrix.shape}"
        )
    difference = np.abs(matrix - matrix.T).max()
    # Sums in float32 leave a millionth.
    if not difference <= 1e-6 * np.abs(matrix).max():
        raise ValueError(
            "`hessian` must be symmetric. "
            f"Received: elements that differ by {difference:g}"
        )
    return (matrix + matrix.T) / 2


def _balance(matrix, weight_decay, strength):
    """Returns H + λD, which must be positive definite."""
    balance = matrix + weight_decay * strength * np.eye(len(matrix))
    smallest = np.linalg.eigvalsh(balance)[0]
    if not smallest > 0:
        raise ValueError(
            "`hessian` plus the decay must be positive definite. Received: "
            f"a smallest eigenvalue of {smallest:g}, "
            f"weight_decay={weight_decay}"
        )
    return balance
