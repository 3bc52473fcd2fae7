"""The links of a search: read from `--link`, and the values they start from."""

from tfwd.training.config import rules
from tfwd.tuning.values import links as links_lib
from tfwd.tuning.values import searchable

# How many times AdamS' λ that of the chosen optimizer and mode is.
FACTOR = "optimizer_factor"


def read(texts):
    """Returns {name of a flag: text of the link}.

    Args:
        texts: The values of `--link`, each NAME=LINK.

    Raises:
        UsageError: One has no such form, or names no flag that may be linked,
            or one that another has named.
    """
    found = {}
    for text in texts:
        name, sign, link = text.partition("=")
        if not (name and sign):
            rules.refuse("link", "must be NAME=A / B or NAME=A * B", text)
        if name not in searchable.LINKED:
            rules.refuse(
                "link",
                "must be of a flag that may be searched and is a number, or of "
                f"{', '.join(sorted(searchable.SHARES))}",
                text,
            )
        if name in found:
            rules.refuse("link", "must be given once for each name", text)
        _check_form(name, link, text)
        found[name] = link
    return found


def _check_form(name, link, text):
    try:
        parsed = links_lib.parse(name, link)
    except ValueError as error:
        rules.refuse("link", f"has no such form ({error})", text)
    are_shares = isinstance(parsed, links_lib.Shares)
    if are_shares and name not in searchable.SHARES:
        rules.refuse("link", f"must be A / B or A * B for --{name}", text)
    if not are_shares and name in searchable.SHARES:
        rules.refuse(
            "link", f"must be shares such as 0.4E,0.8E for --{name}", text
        )


def sources_of(name, link):
    """Returns the names that a link needs the values of."""
    return links_lib.parse(name, link).sources


def free_names(links):
    """Returns the names in links that are no flags: they may be searched."""
    return {
        source
        for name, link in links.items()
        for source in sources_of(name, link)
        if source not in searchable.FIELDS and source != FACTOR
    }


def check_sources(links, searched):
    """Checks that every link will have its values, whatever they are.

    Args:
        links: {name: text}, as `read` returns.
        searched: The searched names.

    Raises:
        UsageError: A source is no flag and not searched, or is no number; or
            links go round in a circle.
    """
    for name, link in links.items():
        for source in sources_of(name, link):
            if source in searchable.NUMBERS or source == FACTOR:
                continue
            if source in searchable.FIELDS:
                _refuse(f"must be made of numbers, not of {source}", name, link)
            if source not in searched:
                _refuse(
                    f"needs the value {source}, which is neither searched nor "
                    "a flag",
                    name,
                    link,
                )
    waiting = dict(links)
    while waiting:
        ready = [
            name
            for name, link in waiting.items()
            if not waiting.keys() & set(sources_of(name, link))
        ]
        if not ready:
            name, link = next(iter(waiting.items()))
            _refuse("must not wait for itself", name, link)
        for name in ready:
            del waiting[name]


def source_values(links, values):
    """Returns {source: value} of what links need and no link makes.

    Args:
        links: {name: text}, as `read` returns.
        values: {name: value} of the flags and of what is searched.

    Raises:
        UsageError: A flag has no value of its own, only the default of whoever
            uses it.
    """
    found = {}
    for name, link in links.items():
        for source in sources_of(name, link):
            if source in links:
                continue
            found[source] = (
                _factor(values) if source == FACTOR else values[source]
            )
            if found[source] is None:
                _refuse(f"needs --{source} to be given", name, link)
    return found


def _factor(values):
    # Needs TensorFlow, which other links do not wait for.
    from tfwd.training.setup import optimization

    cls = optimization.OPTIMIZERS[values["optimizer"]]
    return optimization.decay_factor(cls, values["weight_decay_mode"])


def _refuse(rule, name, link):
    rules.refuse("link", rule, f"{name}={link}")
