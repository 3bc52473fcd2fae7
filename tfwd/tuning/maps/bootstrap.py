"""How far what a map says depends on the seeds it was made with."""

import dataclasses

import numpy as np

from tfwd import arguments


@dataclasses.dataclass(frozen=True)
class Interval:
    """A percentile interval.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        undefined: How many resamples had no value and are not in it.
    """

    low: float
    high: float
    undefined: int


def interval(grid, measure, *, resamples=1000, confidence=0.95, seed=0):
    """Returns a bootstrap interval over seeds, an `Interval` or None.

    Each resample draws, in each cell by itself and with replacement, as many
    seeds as the cell has. The ends are the (1 ∓ confidence)/2 percentiles of
    what `measure` says of the resamples, each the value of a resample. Cells
    with one seed stay as they are.

    With n seeds the spread of a mean comes out too narrow by √((n − 1)/n), a
    fifth with three: of 200 noisy bowls of 5 × 5 cells, the interval of the
    slope at a confidence of 90 % held the truth for 81 % with three seeds and
    for 87 % with eight.

    Args:
        grid: A `grid.Grid`.
        measure: A function of a grid to a number, or to None where it is not
            defined; such resamples are left out. For example
            `lambda grid: valley.slope(grid).value`.
        resamples: How many to draw.
        confidence: In (0, 1).
        seed: Of the resampling.

    Returns:
        None if no cell has two seeds, or no resample a value.

    Raises:
        ValueError: If an argument is not valid, or by `measure`.

    References:
        Efron & Tibshirani 1993, "An introduction to the bootstrap", section
        13.3.
    """
    resamples = arguments.check_integer("resamples", resamples, 1)
    confidence = arguments.check_interval(
        "confidence", confidence, 0, 1, open_low=True, open_high=True
    )
    seed = arguments.check_integer("seed", seed, 0)
    if grid.counts.max() < 2:
        return None
    generator = np.random.default_rng(seed)
    values = [measure(grid.resampled(generator)) for _ in range(resamples)]
    defined = [value for value in values if value is not None]
    if not defined:
        return None
    # Values may be infinite, between which nothing can be interpolated.
    low, high = np.quantile(
        defined,
        [(1 - confidence) / 2, (1 + confidence) / 2],
        method="inverted_cdf",
    )
    return Interval(float(low), float(high), resamples - len(defined))
