"""The report of a search as Markdown: report.md."""

import collections
import dataclasses

from tfwd.tuning import objective as objective_lib
from tfwd.tuning.engine import outcome
from tfwd.tuning.output import map_report
from tfwd.tuning.output import results
from tfwd.tuning.output import trials_table
from tfwd.tuning.output import wording

_MOST_CELLS = 20


@dataclasses.dataclass(frozen=True)
class Search:
    """What was searched.

    Attributes:
        title: Of the report, one line.
        flags: The lines of search.flags.
        names: The searched names, the slowest first.
        objective: An `objective.Objective`.
        select_on: "final" or "best", the epoch that has it.
        cells: How many trials were to be run, None where that is not known.
        seeds: How many runs each of them has.
    """

    title: str
    flags: tuple
    names: tuple
    objective: objective_lib.Objective
    select_on: str = "final"
    cells: int | None = None
    seeds: int = 1


def text(search, rows, *, replay, plot=None, retrained=None, default=None):
    """Returns the report of a search.

    Args:
        search: A `Search`.
        rows: Those of trials.csv.
        replay: The command that trains with the best values.
        plot: Name of the plot beside the report, None without one.
        retrained: {split: {measure: number}} of the model that was trained
            anew with the best values, or how it ended without one, such as
            "diverged: why"; None if it was not.
        default: A value of the second axis, λ, whose regret is told where the
            map has it within.
    """
    best = results.best(rows, search.objective, search.seeds)
    shown = f"![{search.title}]({plot})\n" if plot else ""
    parts = [
        f"# {search.title}\n",
        _searched(search, rows),
        "## Best cell\n",
        _best(search, best),
        shown,
        "## What the map says\n",
        map_report.text(rows, search.names, search.objective, default),
        "## Trials\n",
        _trials(search, rows),
        _others(search, rows),
        "## Retrained on all training data\n",
        _retrained(retrained),
        _replayed(best, replay),
    ]
    return "\n".join(part for part in parts if part)


def _searched(search, rows):
    cells = len({row["trial"] for row in rows})
    asked = f" of {search.cells:,}" if search.cells not in (None, cells) else ""
    noun = "cell" if (search.cells or cells) == 1 else "cells"
    direction = "higher" if search.objective.maximize else "lower"
    lines = [
        f"- {cells:,}{asked} {noun}, {wording.counted(search.seeds, 'seed')} "
        f"each: {_counts(rows)}.",
        f"- Objective: {search.objective.name} of the {search.select_on} "
        f"epoch, {direction} is better.",
    ]
    if remark := objective_lib.remark(search.objective):
        lines.append(f"- {remark}.")
    return "\n".join([*lines, "", *_code(search.flags)])


def _counts(rows):
    found = collections.Counter(map(results.status_of, rows))
    counts = [f"{found[name]:,} {name}" for name in sorted(found, key=_order)]
    return ", ".join([wording.counted(len(rows), "run"), *counts])


def _order(status):
    known = outcome.STATUSES
    return known.index(status) if status in known else len(known)


def _best(search, best):
    if best is None:
        return (
            f"There is none: no cell has {search.seeds:,} completed "
            f"{'run' if search.seeds == 1 else 'runs'}.\n"
        )
    each = ", ".join(
        f"{value:.6g} (seed {seed})" for seed, value in best.objectives.items()
    )
    return (
        f"{wording.of_values(best.values)} (trial {best.trial}): "
        f"{search.objective.name} "
        f"{wording.of_objective(best.mean, best.deviation)}\n\n"
        f"Of its seeds: {each}\n"
    )


def _trials(search, rows):
    """The best cells, as a table."""
    done = [cell for cell in results.cells(rows) if cell.mean is not None]
    # Equal ones stay in their order, as `results.best` chooses.
    done.sort(key=lambda cell: search.objective.cost(cell.mean))
    if not done:
        return "None completed.\n"
    shown = done[:_MOST_CELLS]
    names = list(shown[0].values)
    lines = [
        [
            cell.trial,
            *(wording.of_value(cell.values[name]) for name in names),
            f"{cell.mean:.6g}",
            "" if cell.deviation is None else f"{cell.deviation:.2g}",
            str(len(cell.rows)),
            f"{sum(row['seconds'] for row in cell.rows):.3g}",
        ]
        for cell in shown
    ]
    head = ["trial", *names, search.objective.name, "±", "seeds", "seconds"]
    which = "All" if len(done) == len(shown) else f"The best {len(shown)} of"
    return "\n".join(
        [
            f"{which} {wording.counted(len(done), 'completed cell')}, the best "
            "first; all runs are in trials.csv.",
            "",
            *_table(head, lines),
        ]
    )


def _others(search, rows):
    """Every run that diverged or failed, with its reason."""
    others = [
        row
        for row in rows
        if results.status_of(row) not in (outcome.COMPLETED, outcome.PRUNED)
    ]
    if not others:
        return ""
    names = [
        name
        for name in others[0]
        if name not in trials_table.BEFORE + trials_table.AFTER
    ]
    lines = [
        [
            row["trial"],
            str(row["seed"]),
            *(wording.of_value(row[name]) for name in names),
            results.status_of(row),
            str(row["last_epoch"]),
            row["reason"] or "",
        ]
        for row in others
    ]
    head = ["trial", "seed", *names, "status", "epochs", "reason"]
    return "\n".join(["Without a result:", "", *_table(head, lines)])


def _retrained(splits):
    if not splits:
        return "It was not retrained.\n"
    if isinstance(splits, str):
        return f"It {splits}.\n"
    measures = list(next(iter(splits.values())))
    lines = [
        [split, *(f"{values[name]:.6g}" for name in measures)]
        for split, values in splits.items()
    ]
    return "\n".join(_table(["", *measures], lines))


def _replayed(best, replay):
    if best is None:
        return ""
    return "\n".join(["## Again\n", *_code([replay])])


def _table(head, lines):
    rows = [head, ["---"] * len(head), *lines]
    return [f"| {' | '.join(map(_cell, row))} |" for row in rows] + [""]


def _cell(text):
    return " ".join(text.split()).replace("|", "\\|")


def _code(lines):
    return ["```", *lines, "```", ""]
