"""Values of a search that follow from others, by a closed set of rules.

| link        | value                                      | such as         |
|-------------|--------------------------------------------|-----------------|
| `A * B`     | the product                                | `1000 * stable` |
| `A / B`     | the quotient                               | `0.1 / epochs`  |
| `0.4E,0.8E` | these fractions of `epochs`, as integers | drops of a rate |

A and B are decimal numbers above 0, or names of values; nothing is nested and
nothing is executed. A link may name another link.

References:
    Xie et al. 2022: λ = c/E of Figure 2 and Table 3, drops after 0.4E and 0.8E
    of Figure 9, AdamW's λ of 1000 times AdamS' in Figure 7.
"""

import dataclasses
import math
import numbers
import re

from tfwd.training.config import rules

_LONGEST = 200
_OPERAND = r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[^\W\d][\w/]*"
_PAIR = re.compile(rf"\s*({_OPERAND})\s+([*/])\s+({_OPERAND})\s*", re.ASCII)
_SHARES = re.compile(r"\s*\d*\.?\d+E(\s*,\s*\d*\.?\d+E)*\s*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Pair:
    """The link `left sign right`; an operand is a float or a name."""

    left: float | str
    sign: str
    right: float | str

    @property
    def sources(self):
        """The names that the link needs the values of."""
        return tuple(
            each for each in (self.left, self.right) if isinstance(each, str)
        )

    def value(self, name, values):
        """Returns left · right or left/right, above 0.

        Raises:
            ValueError: The result is not a finite number above 0.
        """
        left, right = (
            values[each] if isinstance(each, str) else each
            for each in (self.left, self.right)
        )
        if self.sign == "/" and right == 0:
            result = math.inf
        else:
            result = left * right if self.sign == "*" else left / right
        return _positive(name, result)


@dataclasses.dataclass(frozen=True)
class Shares:
    """The link `0.4E,0.8E`: whole epochs at shares of all."""

    shares: tuple[float, ...]
    sources = ("epochs",)

    def value(self, name, values):
        """Returns round(share · epochs) for each share, a tuple.

        Raises:
            ValueError: They do not increase from at least 1 on.
        """
        found = tuple(round(each * values["epochs"]) for each in self.shares)
        if found[0] < 1 or list(found) != sorted(set(found)):
            raise ValueError(
                f"`{name}` must be increasing integers above 0. Received: "
                f"{name}={','.join(map(str, found))} of "
                f"epochs={values['epochs']}"
            )
        return found


def parse(name, text):
    """Returns the `Pair` or `Shares` of a text.

    Args:
        name: Of the value that is linked, for the message.
        text: See the table of the module. Blanks stand around `*` and `/`,
            since names of hyperparameters may hold a slash.

    Raises:
        ValueError: The text is no link, or has a number of 0.
    """
    if isinstance(text, str):
        if match := _PAIR.fullmatch(text):
            left, sign, right = match.groups()
            return Pair(_operand(name, left), sign, _operand(name, right))
        if _SHARES.fullmatch(text):
            shares = (float(each.strip()[:-1]) for each in text.split(","))
            return Shares(
                tuple(_positive(name, each, at_most=1.0) for each in shares)
            )
    raise ValueError(
        f"`{name}` must be a link such as `0.1 / epochs`, `1000 * stable` or "
        f"`0.4E,0.8E`. Received: {name}={_shown(text)}"
    )


def resolve(links, values, whole=("epochs",)):
    """Returns the values with those that the links make of them.

    Args:
        links: {name: text}; see `parse`.
        values: {name: value}; those that links name must be numbers.
        whole: Names whose linked value is rounded, to at least 1.

    Raises:
        ValueError: A text is no link; a name is given and linked; a source is
            missing, or no number; links go round in a circle; or a result is
            out of its range. One line.
    """
    parsed = {name: parse(name, text) for name, text in links.items()}
    for name in parsed:
        if name in values:
            raise ValueError(
                f"`{name}` must be a value or a link, not both. "
                f"Received: {name}={_shown(links[name])}"
            )
    found = dict(values)
    while waiting := [name for name in parsed if name not in found]:
        ready = [
            name
            for name in waiting
            if all(source in found for source in parsed[name].sources)
        ]
        if not ready:
            raise ValueError(_unresolved(waiting[0], links, parsed, found))
        for name in ready:
            for source in parsed[name].sources:
                _check_number(source, found[source], name)
            value = parsed[name].value(name, found)
            found[name] = max(round(value), 1) if name in whole else value
    return found


def _operand(name, text):
    if text[0].isdigit() or text[0] == ".":
        return _positive(name, float(text))
    return text


# Not `tfwd.arguments`, which needs Keras: links are read beside flags.
def _positive(name, number, at_most=math.inf):
    """Returns a number of (0, at_most] that float32 holds."""
    is_inside = 0 < number <= at_most and rules.fits_float32(number)
    if not is_inside:
        right = "]" if at_most < math.inf else ")"
        raise ValueError(
            f"`{name}` must be in (0, {at_most:g}{right} and within float32. "
            f"Received: {name}={number}"
        )
    return float(number)


def _shown(value):
    try:
        text = " ".join(str(value).split())
    except ValueError:  # An integer of thousands of digits.
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _check_number(source, value, name):
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number:
        raise ValueError(
            f"`{source}` must be a number, as {name} is linked to it. "
            f"Received: {source}={_shown(value)}"
        )


def _unresolved(name, links, parsed, found):
    """Returns why a link has no value."""
    missing = [s for s in parsed[name].sources if s not in found]
    rule = "must be linked to values that there are"
    if all(each in parsed for each in missing):
        rule = "must not be linked to itself, nor to what waits for it"
    return (
        f"`{name}` {rule}, not to {', '.join(missing)}. "
        f"Received: {name}={_shown(links[name])}"
    )
