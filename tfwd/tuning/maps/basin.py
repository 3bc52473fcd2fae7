"""How much of a map is good: the area of its basin."""

import dataclasses

import numpy as np

from tfwd import arguments
from tfwd.tuning.maps import optimum


@dataclasses.dataclass(frozen=True)
class Basin:
    """What of a map is at least as good as a threshold.

    Attributes:
        area: In decades².
        cells: How many cells of the grid are.
        is_cut: Whether one of them is on the edge of the grid: the area is
            then that within the grid, and the basin may go on.
        threshold: The objective that it was taken at, in the user's direction.
    """

    area: float
    cells: int
    is_cut: bool
    threshold: float


def basin(grid, *, threshold=None, above_best=None):
    """Returns the area of {f <= t} in the plane (log10 η, log10 λ), a `Basin`.

    f is the mean over seeds at the grid's points. Each square of four points is
    cut by its diagonals into four triangles, f at the centre being the mean of
    the corners, and is linear on each. A triangle of the area T with the
    corners f₁ <= f₂ <= f₃ has

        0                                      if t < f₁,
        T (t − f₁)²/((f₂ − f₁)(f₃ − f₁))       if f₁ <= t < f₂,
        T − T (f₃ − t)²/((f₃ − f₁)(f₃ − f₂))   if f₂ <= t < f₃,
        T                                      if f₃ <= t

    at or below t, which is exact where f is a plane. A square with a diverged
    corner has nothing. On f = k (u² + v²), with squares of side h, the area is
    below the true π t/k, by at most π h²/2 and for small h by π h²/3. The set
    need not be connected; parts are added.

    Args:
        grid: A `grid.Grid` without holes.
        threshold: t, in the unit and direction of the objective.
        above_best: How much worse than the best cell t is, instead.

    Raises:
        ValueError: Unless one of the two is given, or if the grid has holes or,
            with `above_best`, nothing but diverged trials.

    References:
        Xie et al. 2023, "On the overlooked pitfalls of weight decay and how to
        mitigate them: a gradient-norm perspective", Figures 8 and 20: test
        errors of at most 4.9 % and 4.83 %.
    """
    if (threshold is None) == (above_best is None):
        raise ValueError(
            "One of `threshold` and `above_best` must be given. Received: "
            f"threshold={threshold}, above_best={above_best}"
        )
    grid.check_has_no_holes()
    means = grid.means()
    if threshold is None:
        limit = means[optimum.best_cell(grid).index]
        limit += arguments.check_interval(
            "above_best", above_best, 0, np.inf, is_measured=True
        )
    else:
        limit = grid.objective(
            arguments.check_interval(
                "threshold", threshold, -np.inf, np.inf, is_measured=True
            )
        )
    is_good = means <= limit
    inner = is_good[1:-1, 1:-1]
    return Basin(
        _area(grid.log_x, grid.log_y, means, limit),
        int(is_good.sum()),
        bool(is_good.sum() > inner.sum()),
        float(grid.objective(limit)),
    )


def _area(u, v, f, limit):
    corners = f[:-1, :-1], f[1:, :-1], f[1:, 1:], f[:-1, 1:]
    centre = sum(corners) / 4
    quarters = np.outer(np.diff(u), np.diff(v)) / 4
    fractions = [
        _fraction(np.stack([corners[n - 1], corners[n], centre]), limit)
        for n in range(4)
    ]
    return float((quarters * sum(fractions)).sum())


def _fraction(f, limit):
    """Returns the fraction of triangles at or below a limit.

    Args:
        f: Values at the corners, [3, ...].
        limit: A number.
    """
    is_finite = np.isfinite(f).all(0)
    low, middle, high = np.sort(np.where(is_finite, f, 0), axis=0)
    # Where a divisor is 0 the other case holds.
    with np.errstate(divide="ignore", invalid="ignore"):
        small = (limit - low) ** 2 / ((middle - low) * (high - low))
        large = 1 - (high - limit) ** 2 / ((high - low) * (high - middle))
    cases = [limit < low, limit < middle, limit < high]
    return np.where(is_finite, np.select(cases, [0, small, large], 1), 0)
