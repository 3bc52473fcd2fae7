"""What a search looks for: values, what follows from them, and its cells.

A cell is {name: value} of the searched names. Its run has the flags of the
command line, with the cell's values and those that `--link` makes of them; what
has no effect there, such as K-FAC's damping where Adam is chosen, is left at
its default.
"""

import contextlib
import dataclasses
import itertools

from tfwd.training.config import rules
from tfwd.training.config import usage
from tfwd.tuning.values import dimension
from tfwd.tuning.values import linked
from tfwd.tuning.values import links as links_lib
from tfwd.tuning.values import searchable
from tfwd.tuning.values import tuner_limits


@dataclasses.dataclass(frozen=True)
class Space:
    """Searched values and links.

    Its methods take `flags`, a `flagfile.Flags` or anything with `values`,
    {name: value} of all flags of the command line, and `given`, the names of
    those that were given directly.

    Attributes:
        dimensions: A tuple of `dimension.Range` and `dimension.Choice`.
        links: {name of a flag: text}; see `tfwd.tuning.links`.
    """

    dimensions: tuple
    links: dict

    @property
    def names(self):
        """The searched names, in the order in which they were given."""
        return tuple(each.name for each in self.dimensions)

    def hyperparameters(self):
        """Returns the `keras_tuner.HyperParameters` of what is searched."""
        import keras_tuner

        hp = keras_tuner.HyperParameters()
        for each in self.dimensions:
            each.declare(hp)
        return hp

    def cells(self, flags=None):
        """Returns the cells of the grid, the first name slowest.

        Args:
            flags: If given, each cell is checked, and of those whose runs are
                the same only the first is kept. Needs TensorFlow.

        Raises:
            UsageError: A cell cannot be run, or a flag that was given, searched
                or linked has no effect in any. One line.
        """
        points = [each.points() for each in self.dimensions]
        found = [
            dict(zip(self.names, values, strict=True))
            for values in itertools.product(*points)
        ]
        return found if flags is None else self._distinct(flags, found)

    def check(self, flags):
        """Checks a search that draws from ranges.

        Each end of a range and each choice must make a run, with the others at
        their first values. Needs TensorFlow.

        Raises:
            UsageError: As of `cells`.
        """
        first = {each.name: each.ends[0] for each in self.dimensions}
        self._distinct(
            flags,
            [first | {d.name: end} for d in self.dimensions for end in d.ends],
        )

    def settings(self, flags, values):
        """Returns the `Settings` of a cell. Needs TensorFlow.

        Args:
            flags: Of the command line.
            values: The cell; further names, such as KerasTuner's own, are
                passed over.

        Raises:
            UsageError: The values cannot be run; names the cell.
        """
        return self._made(flags, values)[0]

    def values(self, flags, values):
        """Returns the searched and the linked values of a cell, by name.

        Raises:
            UsageError: A link has no value there; names the cell.
        """
        found = {name: values[name] for name in self.names}
        with _in_cell(found):
            sources = linked.source_values(self.links, flags.values | found)
            resolved = links_lib.resolve(
                self.links, sources | found, whole=searchable.WHOLE
            )
        return found | {name: resolved[name] for name in self.links}

    def _made(self, flags, values):
        """Returns a cell's `Settings` and the flags without effect in it."""
        # Needs TensorFlow, which the search's flags do not wait for.
        from tfwd.tuning.values import cell

        found = {name: flags.values[name] for name in searchable.FIELDS}
        for name, value in self.values(flags, values).items():
            if name in found:
                found[name] = value
        with _in_cell({name: values[name] for name in self.names}):
            return cell.settings(found)

    def _distinct(self, flags, cells):
        """Returns the cells of different runs, after checking all."""
        from tfwd.tuning.values import cell

        found, everywhere = {}, set(searchable.FIELDS)
        for values in cells:
            made, without_effect = self._made(flags, values)
            found.setdefault(made, values)
            everywhere &= without_effect
        for name, field in searchable.FIELDS.items():
            value = flags.values[name]
            is_ours = name in self.names or name in self.links
            if name in everywhere and (
                is_ours or name in flags.given or value != field.default
            ):
                cell.refuse_idle(name, "(searched)" if is_ours else value)
        return list(found.values())


@contextlib.contextmanager
def _in_cell(cell):
    """Adds the cell to what is refused in the context."""
    try:
        with usage.refusals():
            yield
    except usage.UsageError as error:
        shown = ", ".join(f"{name}={value}" for name, value in cell.items())
        raise usage.UsageError(f"{error} in the cell {shown}") from None


def parse(search):
    """Returns the `Space` of the flags of a search.

    Args:
        search: A `tfwd.tuning.flags.Search`.

    Raises:
        UsageError: Nothing is searched, a value or a link has no such form, a
            name is unknown or given twice, a source is missing, or a grid has
            no number of points. One line.
    """
    if not search.search:
        rules.refuse("search", "must be given at least once", "")
    links = linked.read(search.link)
    free = dict.fromkeys(linked.free_names(links))
    flags = {name: searchable.FIELDS[name] for name in searchable.SEARCHED}
    found = {}
    for text in search.search:
        name = text.partition("=")[0]
        searchable.check(name, text)
        each = dimension.parse(text, flags | free)
        if name in found:
            rules.refuse("search", "must name each value once", text)
        if name in links:
            rules.refuse("search", "must not name what is linked, too", text)
        found[name] = each
    linked.check_sources(links, found)
    tuner_limits.check(search, found.values(), links)
    return Space(tuple(found.values()), links)
