"""The run of a cell: its settings, without the flags that are idle in it.

A flag is idle that changes nothing, for lack of a choice that it needs.
"""

from tfwd.training.config import effects
from tfwd.training.config import rules
from tfwd.training.config import settings as settings_lib
from tfwd.training.setup import optimization
from tfwd.tuning.values import searchable


def settings(values):
    """Returns the `Settings` of a run, and the names of its idle flags.

    Args:
        values: {name: value} of all fields of `Settings`; those of idle flags
            are replaced by the defaults.

    Raises:
        UsageError: The run cannot be made.
    """
    idle = effects.without_effect(values)
    idle |= optimization.not_taken(values["optimizer"])
    defaults = {name: searchable.FIELDS[name].default for name in idle}
    made = settings_lib.Settings(**values | defaults)
    optimization.check(made)
    return made, idle


def refuse_idle(name, value):
    """Raises the `UsageError` of a flag that is idle in every cell.

    Args:
        name: Of the flag.
        value: Of the flag, or what is searched of it.
    """
    needed = effects.needs(name)
    rule = f"needs {needed}" if needed else "needs an --optimizer that takes it"
    rules.refuse(name, f"{rule} in at least one cell of the search", value)
