"""The examples that a search selects on: held out, the same for all runs."""

import dataclasses

# Of the published training sets, as in Zhang et al. 2019, section 5; the digits
# have 1,437 training examples.
_DEFAULTS = {"digits": 300, "ptb": 0}
_DEFAULT = 5000


def held_out(flags, objective):
    """Returns the flags of a search, with validation examples if it needs any.

    Args:
        flags: `flagfile.Flags`.
        objective: The column that was asked for, or None.

    Returns:
        The `Flags`. Without --num_validation, or with 0, an objective of
        validation has 5,000 examples, of the digits 300; a text has words of
        its own for it.
    """
    of_validation = objective is None or objective.startswith("validation_")
    if flags.values["num_validation"] or not of_validation:
        return flags
    count = _DEFAULTS.get(flags.values["dataset"], _DEFAULT)
    return dataclasses.replace(
        flags, values=flags.values | {"num_validation": count}
    )
