"""Fields of dataclasses that are flags: default, help, limits, value."""

import dataclasses


def setting(default, text, **limits):
    """Returns a field of a dataclass whose fields are flags.

    Args:
        default: The flag's default.
        text: Its line of --help.
        **limits: What `rules` checks, e.g. choices, at_least. What `form`
            describes, with a function that tells it, is no worse than a
            choice. One of them is no limit: `group`, under which --help lists
            this field and those below it.
    """
    return dataclasses.field(default=default, metadata={"help": text, **limits})


def of(kind):
    """Returns the fields that are flags, in the order of --help.

    Args:
        kind: A dataclass of such fields or of groups of them, or an instance;
            its `HEADINGS`, if it has them, are those of --help in order.
    """
    found, heading = {}, None
    for field in _flat(kind):
        heading = field.metadata.get("group", heading)
        found.setdefault(heading, []).append(field)
    headings = getattr(kind, "HEADINGS", found)
    return [field for heading in headings for field in found[heading]]


def values(settings):
    """Returns {flag: value} of an instance of what `of` takes."""
    found = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        is_group = dataclasses.is_dataclass(value)
        found |= values(value) if is_group else {field.name: value}
    return found


def _flat(kind):
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.type):
            yield from _flat(field.type)
        else:
            yield field
