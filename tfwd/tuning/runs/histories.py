"""The objectives of a search's runs after each epoch, for pruning."""

import math

from tfwd.training.runs import logs
from tfwd.training.runs import run_files


class Histories:
    """Reads the metrics.csv files in a search's folder.

    Args:
        folder: The `pathlib.Path` of the search.
        objective: The `objective.Objective`.
    """

    def __init__(self, folder, objective):
        # As that of its runs, which are compared with each other.
        self._folder = folder.absolute()
        self._objective = objective
        # {file: (its size, its history)}; files only grow.
        self._known = {}

    def of(self, run_folder):
        """Returns costs after epochs 1, 2, …: lower is better."""
        path = run_files.Files(run_folder).metrics
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return []
        known_size, history = self._known.get(path, (None, []))
        if size != known_size:
            try:
                rows = logs.read(path)
            except ValueError:
                # Another process is at its last row.
                return history
            values = (row.get(self._objective.name) for row in rows)
            history = [
                math.inf if value is None else self._objective.cost(value)
                for value in values
            ]
            self._known[path] = size, history
        return history

    def others(self, run_folder):
        """Returns {(trial, seed): history} of all runs but one."""
        found = {}
        for other in self._folder.glob("trial_*/seed_*"):
            is_begun = run_files.Files(other).metrics.exists()
            if is_begun and other != run_folder:
                found[other.parent.name, other.name] = self.of(other)
        return found
