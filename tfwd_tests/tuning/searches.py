"""Rows of trials.csv, as searches of known results would have them."""

import itertools

from tfwd.tuning import objective
from tfwd.tuning.engine import outcome
from tfwd.tuning.output import trials_table

ACCURACY = objective.Objective("validation_accuracy", True)
PERPLEXITY = objective.Objective("validation_perplexity", False)


def rows(axes, result, seeds=1):
    """The rows of a grid.

    Args:
        axes: {searched name: its values}, the slowest first.
        result: A function of the values and the seed to the objective, or to
            a status and its reason.
        seeds: How many each trial has.
    """
    names = tuple(axes)
    trials = []
    for number, values in enumerate(itertools.product(*axes.values())):
        cell = dict(zip(names, values, strict=True))
        runs = [(s, of(result(**cell, seed=s))) for s in range(seeds)]
        trials.append((f"{number:03}", cell, runs))
    return trials_table.rows_of(names, trials)


def of(result):
    """The outcome that is an objective, or a status with its reason."""
    if isinstance(result, tuple):
        return outcome.Outcome(result[0], None, 1, None, 0.5, result[1])
    return outcome.Outcome("completed", result, 3, 2, 1.5)
