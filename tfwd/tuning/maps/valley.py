"""How the best λ moves with η: the valley of a map.

Loshchilov & Hutter ask whether the best weight decay depends on the learning
rate. The slope s = d log λ*/d log η answers: at s = 0 the two can be tuned one
after the other, at s = −1 only the product ηλ counts.

References:
    Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101, Figures 1 and 2.
"""

import dataclasses

import numpy as np

from tfwd import arguments
from tfwd.tuning.maps import optimum


@dataclasses.dataclass(frozen=True)
class Slope:
    """The slope of the best λ, and what it was fitted to.

    Attributes:
        value: d log λ*/d log η, without unit; None with fewer than two points.
        best_y: {η: λ*}, the points of the fit.
        left_out: {η: reason}, the others; the reasons are "diverged", "edge"
            and "far".
    """

    value: float | None
    best_y: dict
    left_out: dict


def slope(grid, within=None):
    """Returns d log λ*/d log η, a `Slope`.

    At each η, with v = log10 λ and the cell (v₁, f₁) of the lowest mean between
    its neighbours (v₀, f₀) and (v₂, f₂), log10 λ* is where the parabola through
    the three is lowest,

        v* = (v₀ + v₁)/2 − d₀₁ (v₂ − v₀)/(2 (d₁₂ − d₀₁)),
        dᵢⱼ = (fⱼ − fᵢ)/(vⱼ − vᵢ),

    which is at most half a cell away from v₁; v₁ itself where a neighbour
    diverged. The slope is that of the line of least squares through all
    (log10 η, v*) with equal weights. On f = a u² + 2b uv + c v², u = log10 η,
    it is −b/c exactly: it follows the best λ at each η, which in a wide bowl is
    not its long axis.

    An η is left out if all its trials diverged, if its best cell is on the edge
    of the grid ("edge"), where λ* is not known, or by `within` ("far").

    Args:
        grid: A `grid.Grid` without holes, with at least three λ.
        within: None for all η; else only those whose best cell is worse than
            the map's by at most this, in the unit of the objective.

    Raises:
        ValueError: If there are fewer than three λ or there are holes, all
            trials diverged, or `within` is negative.
    """
    if within is not None:
        within = arguments.check_interval(
            "within", within, 0, np.inf, is_measured=True
        )
    if len(grid.y_values) < 3:
        raise ValueError(
            f"`grid` must have at least three values of {grid.y}. "
            f"Received: {len(grid.y_values)}"
        )
    grid.check_has_no_holes()
    means = grid.means()
    lowest = means[optimum.best_cell(grid).index]
    places, left_out = {}, {}
    for i, (x, column) in enumerate(zip(grid.x_values, means, strict=True)):
        reason = _reason(column, lowest, within)
        if reason:
            left_out[float(x)] = reason
        else:
            places[i] = _vertex(grid.log_y, column)
    best_y = {float(grid.x_values[i]): float(10**v) for i, v in places.items()}
    if len(places) < 2:
        return Slope(None, best_y, left_out)
    u, v = grid.log_x[list(places)], np.array(list(places.values()))
    u = u - u.mean()
    return Slope(float(u @ v / (u @ u)), best_y, left_out)


def _reason(column, lowest, within):
    """Tells why an η is left out, None if it is not."""
    j = int(np.argmin(column))
    if not np.isfinite(column[j]):
        return "diverged"
    if within is not None and column[j] > lowest + within:
        return "far"
    return "edge" if j in (0, len(column) - 1) else None


def _vertex(v, column):
    j = int(np.argmin(column))
    around = slice(j - 1, j + 2)
    if not np.isfinite(column[around]).all():
        return v[j]
    # Of equal cells argmin takes the first: left < 0 <= right.
    left, right = np.diff(column[around]) / np.diff(v[around])
    return (v[j - 1] + v[j]) / 2 - left * (v[j + 1] - v[j - 1]) / (
        2 * (right - left)
    )
