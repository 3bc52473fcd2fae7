"""Which flags change nothing in a cell, for lack of a choice they need."""

import types

from tfwd.training import effects
from tfwd.training import optimizer
from tfwd.training import rules


def flags(values):
    """Returns the names of the flags that have no effect.

    Args:
        values: {name: value} of all fields of `Settings`.
    """
    idle = effects.without_effect(types.SimpleNamespace(**values))
    return idle | optimizer.not_taken(values["optimizer"])


def refuse(name, value):
    """Raises the `UsageError` of a flag that is idle in every cell.

    Args:
        name: Of the flag.
        value: Of the flag, or what is searched of it.
    """
    needed = effects.needs(name)
    rule = f"needs {needed}" if needed else "needs an --optimizer that takes it"
    rules.refuse(name, f"{rule} in at least one cell of the search", value)
