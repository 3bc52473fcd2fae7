"""Which axes a plot of a search has, and what their values look like."""

import dataclasses
import math

# From this ratio of the ends on, values are read as powers.
_LOGARITHMIC = 10
# A third number gives a panel per value where there are no more of them.
_MOST_PANELS = 6
MOST_TICKS = 12


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is drawn against what.

    Attributes:
        x: The number on the first axis.
        y: That on the second, None where there is one number alone.
        by: The value that panels or lines are for, None without one.
        parts: {value of `by`: its cells}; {None: all} without one.
    """

    x: str
    y: str | None
    by: str | None
    parts: dict


@dataclasses.dataclass(frozen=True)
class Axis:
    """The values of an axis and where they are drawn.

    Attributes:
        values: Increasing.
        scale: "log", "linear", or "index": at 0, 1, …, as zero among powers
            needs it.
    """

    values: tuple
    scale: str

    def place(self, value):
        """Returns where a value is drawn."""
        return self.values.index(value) if self.scale == "index" else value

    def places(self):
        """Returns where all of them are."""
        return [self.place(value) for value in self.values]

    def edges(self):
        """Returns the borders of the cells of the values, one more of them."""
        to, back = _TRANSFORMS[self.scale]
        at = [to(place) for place in self.places()]
        middles = [(a + b) / 2 for a, b in zip(at, at[1:], strict=False)]
        if not middles:
            return [back(at[0] - 0.5), back(at[0] + 0.5)]
        first, last = 2 * at[0] - middles[0], 2 * at[-1] - middles[-1]
        return [back(edge) for edge in (first, *middles, last)]


_TRANSFORMS = {
    "log": (math.log10, lambda exponent: 10**exponent),
    "linear": (float, float),
    "index": (float, float),
}


def layout(cells, names):
    """Returns the `Layout` of a search of one or two numbers.

    With two numbers x is learning_rate, if it is one of them, else the first.
    Besides there may be one more value that varies: a text or boolean, or the
    one of three numbers that has the fewest values, six at most.

    Args:
        cells: Of `results.cells`.
        names: The searched names, the slowest first.

    Raises:
        ValueError: Other numbers and values vary; one line.
    """
    found = {name: list(_values(cells, name)) for name in names}
    varying = {name: of for name, of in found.items() if len(of) > 1}
    numbers = [name for name in varying if all(map(_is_number, varying[name]))]
    others = [name for name in varying if name not in numbers]
    if len(numbers) == 3 and not others:
        fewest = min(reversed(numbers), key=lambda name: len(varying[name]))
        if len(varying[fewest]) <= _MOST_PANELS:
            numbers.remove(fewest)
            others.append(fewest)
    if not 1 <= len(numbers) <= 2 or len(others) > 1:
        raise ValueError(
            "A plot needs one or two numbers that vary, and at most one "
            "other value. Received: "
            + (", ".join([*numbers, *others]) or "nothing that varies")
        )
    x, *rest = sorted(numbers, key=lambda name: name != "learning_rate")
    by = others[0] if others else None
    values = found[by] if by else [None]
    if all(map(_is_number, values)):
        values = sorted(values)
    parts = {
        value: [cell for cell in cells if not by or cell.values[by] == value]
        for value in values
    }
    return Layout(x, rest[0] if rest else None, by, parts)


def axis(cells, name):
    """Returns the `Axis` of a number.

    It is logarithmic if all values are above 0 and the last is at least ten
    times the first; so it is but for a 0, they stand at equal distances.
    """
    values = tuple(sorted(_values(cells, name)))
    positive = [value for value in values if value > 0]
    is_log = positive and positive[-1] >= _LOGARITHMIC * positive[0]
    if not is_log or values[0] < 0:
        return Axis(values, "linear")
    return Axis(values, "index" if values[0] == 0 else "log")


def robust_limit(costs):
    """Returns the cost that a colour scale ends at, so that few do not set it.

    Three times as far from the best as the best quarter reaches, at most the
    worst.

    Args:
        costs: Finite, lower is better; at least one.
    """
    ordered = sorted(costs)
    quarter = ordered[math.ceil((len(ordered) - 1) / 4)]
    limit = ordered[0] + 3 * (quarter - ordered[0])
    return min(limit, ordered[-1]) if limit > ordered[0] else ordered[-1]


def set_ticks(side, axis, at_values=True):
    """Names the values of an axis where they are drawn.

    Args:
        side: A matplotlib axis.
        axis: An `Axis`.
        at_values: Whether they are few, as those of a grid. Else the axis has
            round numbers, unless its scale knows the values alone.
    """
    if at_values or axis.scale == "index":
        every = math.ceil(len(axis.values) / MOST_TICKS)
        side.set_ticks([], minor=True)
        side.set_ticks(
            axis.places()[::every],
            [f"{value:.3g}" for value in axis.values[::every]],
            fontsize=8,
        )


def _values(cells, name):
    return dict.fromkeys(cell.values[name] for cell in cells)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
