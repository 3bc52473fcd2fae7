"""Flags of the training as a command line has them, for spaces."""

import dataclasses

from tfwd.training.config import fields
from tfwd.training.config import settings as settings_lib


@dataclasses.dataclass(frozen=True)
class Flags:
    values: dict
    given: frozenset


def flags(in_a_file=(), **given):
    """Defaults, then what a flagfile has, then what is given directly."""
    defaults = {
        field.name: field.default for field in fields.of(settings_lib.Settings)
    }
    values = {**defaults, **dict(in_a_file), **given}
    return Flags(values, frozenset(given))
