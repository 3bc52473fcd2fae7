"""What --help prints: the flags in groups, each with its values."""

import textwrap
import typing

from tfwd.training.config import effects
from tfwd.training.config import fields
from tfwd.training.config import rules

_WIDTH = 80
_KINDS = {int: "an integer", float: "a number", str: "a text"}


def text(*kinds):
    """Returns the help of the flags of dataclasses.

    Args:
        *kinds: The dataclasses; a field whose metadata hold another `group`
            begins it.

    Returns:
        Lines of text.
    """
    lines = [
        "Flags: --name=value, --name or --noname where it says [no].",
        "--flagfile=FILE reads them from a file, one a line; those given "
        "directly win.",
    ]
    heading = None
    for field in (each for kind in kinds for each in fields.of(kind)):
        before, heading = heading, field.metadata.get("group", heading)
        if heading != before:
            lines += ["", f"{heading}:"]
        lines += _lines(field)
    return "\n".join(lines) + "\n"


def _lines(field):
    prefix = "[no]" if rules.kind_of(field) is bool else ""
    words = f"--{prefix}{field.name}: {field.metadata['help']}"
    return textwrap.wrap(
        f"{words} ({'; '.join(_facts(field))})",
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _facts(field):
    """What values there are, and which one is the default if it is known."""
    kind, limits = rules.kind_of(field), field.metadata
    element = typing.get_args(kind)[0] if typing.get_args(kind) else kind
    if "choices" in limits:
        yield rules.choices_of(limits)
    elif element in _KINDS:
        bounds = [
            f"{word.replace('_', ' ')} {limits[word]:,}"
            for word in ("at_least", "above", "at_most", "below")
            if word in limits
        ]
        yield " ".join([_KINDS[element], *bounds])
    # Another binary may have a flag of the same name.
    needed = limits.get("needs", effects.needs(field.name))
    if needed:
        yield f"needs {needed}"
    default = field.default
    if default is None or default == ():
        return
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    yield f"default {str(default).lower() if kind is bool else default}"
