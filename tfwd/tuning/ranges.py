"""What a search may choose a number from: a range, or one value."""

import dataclasses

from tfwd import arguments


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, log-uniform: low·(high/low)^u, u in [0, 1].

    `low` equal to `high` is that number and no hyperparameter.
    """

    low: float
    high: float

    def __mul__(self, factor):
        return Range(self.low * factor, self.high * factor)

    def choose(self, hp, name):
        """Returns the value of a hyperparameter, None where it is inactive.

        Args:
            hp: `keras_tuner.HyperParameters`.
            name: Of the hyperparameter.
        """
        if self.low == self.high:
            return self.low
        return hp.Float(name, self.low, self.high, sampling="log")


def read(name, value, zero=False):
    """Returns the `Range` that an argument means.

    Args:
        name: The argument's name, for the message.
        value: A pair (low, high) of numbers with 0 < low < high, or a number
            above 0, which is held.
        zero: Whether the number may be 0.

    Raises:
        ValueError: For anything else; one line.
    """
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise ValueError(
                f"`{name}` must be a number or a pair (low, high). "
                f"Received: {name}={arguments.shown(value)}"
            )
        low, high = (arguments.check_positive(name, each) for each in value)
        if low >= high:
            raise ValueError(
                f"`{name}` must be a pair (low, high) with low < high. "
                f"Received: {name}={arguments.shown(value)}"
            )
        return Range(low, high)
    check = arguments.check_non_negative if zero else arguments.check_positive
    number = check(name, value)
    return Range(number, number)
