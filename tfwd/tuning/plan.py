"""A search, checked: what its trials are and what they are chosen by."""

import dataclasses

from tfwd.training.config import rules
from tfwd.tuning import flags as flags_lib
from tfwd.tuning import objective as objective_lib
from tfwd.tuning.runs import sources as sources_lib
from tfwd.tuning.runs import validation


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a search does.

    Attributes:
        search: The `flags.Search`.
        flags: The `flagfile.Flags`, with the validation examples.
        space: The `space.Space`.
        cells: {name: value} of every cell of a grid; None for other tuners.
        example: The `Settings` of one cell.
        objective: The `objective.Objective`.
        sources: The `sources.Sources` of its runs.
    """

    search: flags_lib.Search
    flags: object
    space: object
    cells: list | None
    example: object
    objective: objective_lib.Objective
    sources: sources_lib.Sources

    @property
    def seeds(self):
        """The seeds of the runs of each cell."""
        first = self.flags.values["seed"]
        return range(first, first + self.search.trials_per_cell)

    @property
    def names(self):
        """The searched and the linked names, the columns of trials.csv."""
        return (*self.space.names, *self.space.links)

    def evaluated(self, source):
        """Returns the splits that runs are evaluated on after each epoch.

        Not the test data, unless it is what they are chosen by.

        Args:
            source: The data set.
        """
        if self.objective.name.startswith("test_"):
            return ("validation", "test")
        has_split = "validation" in source.split_names
        return ("validation",) if has_split else ("test",)

    def settings(self, values):
        """Returns the `Settings` of a trial's values."""
        return self.space.settings(self.flags, values)

    def columns(self, values):
        """Returns {name: value} of a trial, as trials.csv has them."""
        return self.space.values(self.flags, values)


def make(flags, space):
    """Checks a search and its first data.

    Args:
        flags: The `flagfile.Flags` of `Search` and `Settings`.
        space: The `space.Space` of them.

    Raises:
        UsageError: A cell cannot be run, the objective is none, or there is no
            such data; one line.
    """
    search = flags.of(flags_lib.Search)
    flags = validation.held_out(flags, search.objective)
    cells = None
    if search.tuner == "grid":
        cells = space.cells(flags)
        first = cells[0]
    else:
        space.check(flags)
        first = {each.name: each.ends[0] for each in space.dimensions}
    example = space.settings(flags, first)
    if example.distribution.strategy in ("multi_worker", "tpu"):
        rules.refuse(
            "strategy",
            "must be one of a single process, as each trial is; several are "
            "searched with by --workers of tune.sh",
            example.distribution.strategy,
        )
    if example.run.mode != "train":
        rules.refuse("mode", "must be train", example.run.mode)
    last_seed = example.run.seed + search.trials_per_cell - 1
    if last_seed >= 2**32:
        rules.refuse(
            "trials_per_cell",
            f"must leave seeds below 2**32 from --seed={example.run.seed} on",
            search.trials_per_cell,
        )
    objective = objective_lib.of(example, search.objective)
    sources = sources_lib.Sources()
    sources.of(example)
    return Plan(search, flags, space, cells, example, objective, sources)
