"""One value that is searched, as `--search=NAME=FORM:...` tells it.

| form                | values                                                |
|---------------------|-------------------------------------------------------|
| `log:LOW:HIGH:N`    | N of equal ratios, from LOW to HIGH; all between them |
| `linear:LOW:HIGH:N` | N of equal differences; all between them              |
| `choice:A,B,C`      | these                                                 |

N is of a grid, which has those points alone; whoever draws values draws them
from the whole range and needs no N.
"""

import dataclasses
import math

from tfwd.training.config import decimals
from tfwd.training.config import rules
from tfwd.training.config import usage

_FORMS = ("log", "linear", "choice")
_LARGEST_COUNT = 1000
# Powers of ten come out as themselves.
_DIGITS = 10


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, whole ones if these are.

    Attributes:
        name: What is searched.
        sampling: "log" or "linear".
        low: The lower end.
        high: The upper end.
        count: Points of a grid; None if not told.
    """

    name: str
    sampling: str
    low: float | int
    high: float | int
    count: int | None = None

    @property
    def ends(self):
        """The values that stand for all when a search is checked."""
        return self.low, self.high

    def points(self):
        """Returns the points of a grid, each once: both ends and between.

        They are rounded to 10 digits, or to integers, of which there may
        be fewer than `count`.
        """
        found = [
            self._at(i / (self.count - 1)) for i in range(1, self.count - 1)
        ]
        if isinstance(self.low, int):
            found = map(round, found)
        else:
            found = (float(f"{each:.{_DIGITS}g}") for each in found)
        inner = [each for each in found if self.low < each < self.high]
        return tuple(dict.fromkeys((self.low, *inner, self.high)))

    def declare(self, hp):
        """Registers the range with a `keras_tuner.HyperParameters`."""
        make = hp.Int if isinstance(self.low, int) else hp.Float
        make(self.name, self.low, self.high, sampling=self.sampling)

    def _at(self, share):
        if self.sampling == "linear":
            return self.low + share * (self.high - self.low)
        low, high = math.log10(self.low), math.log10(self.high)
        return 10 ** (low + share * (high - low))


@dataclasses.dataclass(frozen=True)
class Choice:
    """Some values, all of a type.

    Attributes:
        name: What is searched.
        values: A tuple.
    """

    name: str
    values: tuple

    @property
    def ends(self):
        """The values that stand for all when a search is checked."""
        return self.values

    def points(self):
        """Returns the points of a grid."""
        return self.values

    def declare(self, hp):
        """Registers the values with a `keras_tuner.HyperParameters`."""
        # KerasTuner makes integers of a choice of booleans.
        if isinstance(self.values[0], bool) and len(self.values) == 2:
            hp.Boolean(self.name, default=self.values[0])
        elif len(self.values) == 1:
            hp.Fixed(self.name, self.values[0])
        else:
            hp.Choice(self.name, list(self.values))


def parse(text, flags):
    """Returns the `Range` or `Choice` of a `--search`.

    Args:
        text: NAME=FORM:..., see the table of the module.
        flags: {name: field} of all that may be searched; the field is one of
            `Settings`, or None for a number that is no flag.

    Raises:
        UsageError: The text has no such form, the name is not among `flags`,
            or a value is not one of that flag. One line.
    """
    name, _, rest = text.partition("=")
    form, colon, rest = rest.partition(":")
    if form not in _FORMS or not (name and colon):
        _refuse(
            "must be NAME=log:LOW:HIGH:N, NAME=linear:LOW:HIGH:N or "
            "NAME=choice:A,B,C",
            text,
        )
    if name not in flags:
        _refuse(
            "must name a flag of the training, or a name that a --link uses",
            text,
        )
    field = flags[name]
    kind = rules.kind_of(field) if field else float
    if form == "choice":
        return _choice(name, rest, field, kind, text)
    return _range(name, form, rest, field, kind, text)


def _choice(name, rest, field, kind, text):
    values = tuple(_value(each, field, kind, text) for each in rest.split(","))
    if len(set(values)) < len(values):
        _refuse("must have each value once", text)
    return Choice(name, values)


def _range(name, form, rest, field, kind, text):
    if kind not in (int, float):
        _refuse(f"must be a choice for --{name}, which is no number", text)
    ends = rest.split(":")
    count = None
    if len(ends) == 3:
        count = _count(ends.pop(), text)
    if len(ends) != 2:
        _refuse(f"must be NAME={form}:LOW:HIGH, with or without :N", text)
    low, high = (_value(each, field, kind, text) for each in ends)
    if low >= high:
        _refuse("must have a LOW below its HIGH", text)
    if form == "log" and low <= 0:
        _refuse("must have a LOW above 0 for log", text)
    return Range(name, form, low, high, count)


def _count(text, whole):
    is_count = decimals.is_integer(text) and len(text) < 10
    if not is_count or not 2 <= int(text) <= _LARGEST_COUNT:
        _refuse(f"must have an N of 2 to {_LARGEST_COUNT} points", whole)
    return int(text)


def _value(text, field, kind, whole):
    """Returns a value that the flag may have."""
    if kind is bool:
        if text not in ("true", "false"):
            _refuse("must have true or false for a switch", whole)
        return text == "true"
    value = text
    if kind is int:
        if not decimals.is_integer(text):
            _refuse(f"must have integers for --{field.name}", whole)
        value = int(text)
    if kind is float:
        try:
            value = decimals.Float().convert(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not rules.fits_float32(value):
            _refuse("must have decimal numbers that float32 holds", whole)
    if field is not None:
        try:
            rules.check_value(field, value)
        except usage.UsageError as error:
            raise usage.UsageError(f"{error} in --search={whole}") from None
    return value


def _refuse(rule, text):
    rules.refuse("search", rule, text)
