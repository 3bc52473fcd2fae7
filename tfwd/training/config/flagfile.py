"""A command line, read by absl as the fields of dataclasses."""

import dataclasses
import sys
import typing

from absl import flags

from tfwd.training.config import decimals
from tfwd.training.config import effects
from tfwd.training.config import fields
from tfwd.training.config import flag_help
from tfwd.training.config import flag_lines
from tfwd.training.config import rules
from tfwd.training.config import settings as settings_lib
from tfwd.training.config import usage

_PARSERS = {int: decimals.Integer(), float: decimals.Float()}
_DEFINE = {
    str: flags.DEFINE_string,
    bool: flags.DEFINE_bool,
    tuple[str, ...]: flags.DEFINE_multi_string,
}
_HELP = ("-h", "-help", "--helpshort", "--helpfull")


@dataclasses.dataclass(frozen=True)
class Flags:
    """A command line, read and not yet checked together.

    Attributes:
        values: {name: value} of every flag, with its default if not given.
        given: The names given directly, not by a `--flagfile`.
    """

    values: dict
    given: frozenset

    def of(self, kind):
        """Returns an instance of one of the dataclasses that were read.

        Raises:
            UsageError: A value is not allowed.
        """
        names = [field.name for field in fields.of(kind)]
        return kind(**{name: self.values[name] for name in names})


def parse(arguments, kind=settings_lib.Settings):
    """Reads `Settings` from a command line.

    Args:
        arguments: As of `read`.
        kind: `Settings`, or another dataclass whose fields are like those.

    Returns:
        An instance of `kind`. A flagfile may hold flags of training for
        --mode=eval, such as a run's flags.txt: they are left out.

    Raises:
        UsageError: An unknown flag, a value that is not allowed, or a flag
            that has no effect.
    """
    found = read(arguments, kind)
    if kind is not settings_lib.Settings:
        return found.of(kind)
    if found.values["mode"] == "eval":
        values = _effective(found.values, keep=found.given)
        found = dataclasses.replace(found, values=values)
    settings = found.of(kind)
    # A flagfile may write defaults out that have no effect.
    effects.check(settings, found.given)
    return settings


def read(arguments, *kinds):
    """Reads the flags of dataclasses from a command line.

    Args:
        arguments: Flags without the program's name. A flag given directly
            wins over the same flag in a `--flagfile`, also one that may be
            repeated; `--help` prints all flags and leaves.
        *kinds: Dataclasses like `Settings`, no two with a field of one name.

    Returns:
        `Flags`.

    Raises:
        UsageError: An unknown flag, or a value of another type.
    """
    known = [field for kind in kinds for field in fields.of(kind)]
    files, direct = _split(arguments)
    # absl lets the last one win, but appends flags that may be repeated.
    values, given = _parsed([*files, *direct], known), _parsed(direct, known)
    if values.help:
        sys.stdout.write(flag_help.text(*kinds))
        raise SystemExit(0)
    found = {
        field.name: _value(
            field,
            (given if given[field.name].present else values)[field.name].value,
        )
        for field in known
    }
    return Flags(
        found, frozenset(name for name in found if given[name].present)
    )


def recorded(path):
    """Reads the `Settings` of a run's flags.txt.

    Flags that have no effect have their defaults in it: an earlier version
    took and recorded them.

    Raises:
        ValueError: A line is no flag, or a value is not allowed.
    """
    known = fields.of(settings_lib.Settings)
    values = _parsed([f"--flagfile={path}"], known)
    return settings_lib.Settings(
        **_effective(
            {
                field.name: _value(field, values[field.name].value)
                for field in known
            }
        )
    )


def _effective(found, keep=()):
    """Flags by name, with their defaults where they have no effect."""
    names = effects.without_effect(found)
    defaults = {
        field.name: field.default for field in fields.of(settings_lib.Settings)
    }
    return {
        name: defaults[name] if name in names - set(keep) else value
        for name, value in found.items()
    }


def _split(arguments):
    """Returns the `--flagfile` arguments, in either form, and the others."""
    files, direct = [], []
    remaining = iter(arguments)
    for text in remaining:
        name = text.lstrip("-")
        if text.startswith("-") and name == "flagfile":
            files.append(f"--flagfile={next(remaining, '')}")
        elif text.startswith("-") and name.startswith("flagfile="):
            files.append(f"--{name}")
        else:
            direct.append("--help" if text in _HELP else text)
    if "--flagfile=" in files:
        # absl would pass over it.
        rules.refuse("flagfile", "must name a file", "")
    return files, direct


def _parsed(arguments, known):
    files = [each for each in arguments if each.startswith("--flagfile=")]
    values = flags.FlagValues()
    for field in known:
        _define(field, values)
    flags.DEFINE_bool("help", False, "print the flags", flag_values=values)
    try:
        arguments = values.read_flags_from_files(arguments)
        _refuse_hiding(arguments)
        rest = values(["tfwd", *arguments])[1:]
    except flags.Error as error:
        raise usage.UsageError(" ".join(str(error).split())) from None
    except UnicodeDecodeError as error:
        raise usage.UsageError(
            f"`--flagfile` must be text ({error.reason}). "
            f"Received: {' '.join(files)}"
        ) from None
    if rest:
        raise usage.UsageError(
            "Every argument must be a flag, --name=value. "
            f"Received: {' '.join(rest)}"
        )
    return values


def _refuse_hiding(arguments):
    """Refuses absl's own flag that lets others be misspelt."""
    for each in arguments:
        name, _, value = each.lstrip("-").partition("=")
        if each.startswith("-") and name == "undefok":
            rules.refuse(name, "is no flag: every flag must be known", value)


def _define(field, values):
    text = field.metadata["help"]
    kind = rules.kind_of(field)
    default = field.default
    if typing.get_args(kind):
        default = [str(each) for each in default]
    if flag_lines.is_list(field):
        flags.DEFINE_list(field.name, default, text, flag_values=values)
    elif kind in _PARSERS:
        flags.DEFINE(
            _PARSERS[kind],
            field.name,
            default,
            text,
            values,
            flags.ArgumentSerializer(),
        )
    else:
        _DEFINE[kind](field.name, default, text, flag_values=values)


def _value(field, value):
    kind = rules.kind_of(field)
    if kind == tuple[int, ...]:
        if not all(map(decimals.is_integer, value)):
            rules.refuse(
                field.name,
                "must be integers, e.g. 80,160",
                ",".join(value),
            )
        return tuple(map(int, value))
    return tuple(value) if typing.get_args(kind) else value
