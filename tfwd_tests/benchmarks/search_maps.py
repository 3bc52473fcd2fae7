"""Maps of several searches side by side: what they say, and their picture.

`python -m tfwd_tests.benchmarks.search_maps --searches=adams=SEARCH
--output=DIR` takes the trials.csv of searches of learning rate and weight
decay, NAME=FOLDER each, between commas. Searches of one name are one map, such
as a coarse grid and more seeds around its best cell. It writes NAME.csv and
NAME.png for each map, and prints what it says.
"""

import argparse
import collections
import pathlib

from tfwd.tuning import maps
from tfwd.tuning import objective as objective_lib
from tfwd.tuning.maps import grid
from tfwd.tuning.output import plots
from tfwd.tuning.output import results
from tfwd.tuning.output import trials
from tfwd.tuning.output import trials_table

RATE, DECAY = "learning_rate", "weight_decay"
_OBJECTIVE = objective_lib.Objective("validation_accuracy", maximize=True)
# Margins to the best cell, and a threshold that the maps have in common.
_MARGINS = (0.02, 0.05)


def main(arguments=None):
    """Writes the maps and prints what they say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searches", required=True)
    parser.add_argument("--output", required=True, type=pathlib.Path)
    parser.add_argument("--thresholds", default="")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    thresholds = [float(each) for each in options.thresholds.split(",") if each]
    rows_of = joined(options.searches.split(","))
    for name, rows in rows_of.items():
        trials_table.write(options.output / f"{name}.csv", (RATE, DECAY), rows)
        found = maps.findings(
            grid.from_trials(rows, RATE, DECAY, maximize=True),
            thresholds=thresholds,
            above_best=_MARGINS,
        )
        print(f"{name}: {len(rows)} runs", maps.as_text(found), sep="\n")
    draw(rows_of, options.output)


def joined(searches):
    """Returns {name: rows} of texts NAME=FOLDER, a trial per cell.

    Of each cell the seeds of all its searches are those of its first trial.
    """
    found = collections.defaultdict(list)
    for text in searches:
        name, _, folder = text.partition("=")
        found[name] += trials.read(pathlib.Path(folder, "trials.csv"))
    for rows in found.values():
        first = {}
        for row in rows:
            place = tuple(f"{row[name]:.9g}" for name in (RATE, DECAY))
            known = first.setdefault(place, row)
            for name in ("trial", RATE, DECAY):
                row[name] = known[name]
        rows.sort(key=lambda row: (row["trial"], row["seed"]))
    return found


def draw(rows_of, folder):
    """Draws a picture of each map, on axes of its own."""
    for name, rows in rows_of.items():
        plots.draw(
            results.cells(rows),
            (RATE, DECAY),
            _OBJECTIVE,
            name,
            folder,
            results.best(rows, _OBJECTIVE),
        )
        (folder / plots.HEATMAP).rename(folder / f"{name}.png")


if __name__ == "__main__":
    main()
