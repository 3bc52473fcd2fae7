"""How a field of settings is declared: its default, its help, its limits."""

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
