"""Flags that are decimal numbers.

Python and absl also take 0x10, 1_0, digits of other scripts and blanks around
them, which nobody means.
"""

import re

from absl import flags

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|nan)"
)


def is_integer(text):
    """Returns whether a text is a decimal integer."""
    return _INTEGER.fullmatch(text) is not None


class Integer(flags.IntegerParser):
    """Reads a decimal integer."""

    def convert(self, argument):
        """Returns the integer; `ValueError` for another text."""
        if isinstance(argument, str) and not is_integer(argument):
            raise ValueError("must be a decimal integer")
        return int(argument)


class Float(flags.FloatParser):
    """Reads a decimal number."""

    def convert(self, argument):
        """Returns the number; `ValueError` for another text."""
        if isinstance(argument, str) and not _FLOAT.fullmatch(argument):
            raise ValueError("must be a decimal number")
        return float(argument)
