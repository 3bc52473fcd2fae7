"""A mean over examples and its standard error, from sums."""

import math
import typing

from keras import ops

from tfwd.diagnostics.backend import derivatives


class Mean(typing.NamedTuple):
    """The mean of a quantity over examples.

    Attributes:
        value: The mean.
        standard_error: The standard deviation of the examples, with count − 1
            in the denominator, over √count; NaN for one example. It takes the
            examples for independent, and holds their differences and the noise
            of an estimator together.
        count: How many examples.
    """

    value: float
    standard_error: float
    # Also the name of a method that tuples have.
    count: int  # type: ignore[assignment]


def sums(values, weights):
    """Returns (Σ w v, Σ w v², Σ w) as a tensor [3], for `of_sums`.

    Args:
        values: v, [batch].
        weights: w, [batch]: 1, or 0 for padding, whose values are not read.
    """
    dtype = derivatives.kfac.widest_float()
    weights = ops.cast(weights, dtype)
    values = ops.where(weights > 0, ops.cast(values, dtype), 0.0 * weights)
    return ops.stack(
        [
            ops.sum(weights * values),
            ops.sum(weights * ops.square(values)),
            ops.sum(weights),
        ]
    )


def of_sums(total, total_of_squares, count):
    """Returns the `Mean` of what `sums` returned, summed over batches.

    Raises:
        ValueError: If there is no example.
    """
    if not count > 0:
        raise ValueError(
            f"A mean needs at least one example. Received: count={count:g}"
        )
    mean = total / count
    if not count > 1:
        return Mean(float(mean), math.nan, int(count))
    # Rounding can make the difference of equal values negative.
    variance = max(total_of_squares - count * mean**2, 0.0) / (count - 1)
    error = math.sqrt(variance / count)
    return Mean(float(mean), error, int(round(float(count))))
