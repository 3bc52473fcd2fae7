"""What a search has found so far, written and shown after every trial."""

import shutil
import sys
import time

from tfwd.tuning import estimate
from tfwd.tuning import hparams_record
from tfwd.tuning import results
from tfwd.tuning import standing
from tfwd.tuning import table

# Of a run that has ended: what only going on with it would need.
_LARGE = ("checkpoints", "last.keras", "best.keras", "final.keras")


class Record:
    """Keeps trials.csv in step with the trials that have ended.

    Args:
        plan: A `plan.Plan`.
        folder: The `pathlib.Path` of the search.
    """

    def __init__(self, plan, folder):
        self._plan = plan
        self._folder = folder
        self._oracle = None
        self._work = None
        # {trial id: (its values, [(seed, outcome)])}.
        self._ended = {}
        # Training steps that are behind the search, and of this process.
        self._behind = 0
        self._done = 0
        self._begin = time.monotonic()
        # {run folder: the epochs of it that are counted}.
        self._epochs = {}

    def begin(self, oracle, work):
        """Takes over what earlier processes have found.

        Args:
            oracle: The `durable_oracle.DurableOracle`, which has read it.
            work: The `estimate.Work` of the search.
        """
        self._oracle, self._work = oracle, work
        for trial_id in oracle.end_order:
            self._take(oracle.trials[trial_id])
        self._begin = time.monotonic()
        if self._plan.flags.values["tensorboard"]:
            hparams_record.begin(self._plan, self._folder)

    def epoch(self, settings, epochs):
        """Counts an epoch of a run of this process.

        Args:
            settings: The `Settings` of the run.
            epochs: How many of it are finished.
        """
        known = self._epochs.get(settings.output_dir, epochs)
        self._epochs[settings.output_dir] = epochs
        steps = estimate.steps_of(self._plan, settings) // settings.epochs
        self._done += (epochs - known) * steps
        if sys.stdout.isatty():
            print(f"\r{self._standing()}\033[K", end="", flush=True)

    def ended(self, trial):
        """Writes a trial that has ended, and shows where the search stands."""
        steps = self._take(trial)
        if not any(str(run) in self._epochs for run in self._runs(trial)):
            # Another process has trained it.
            self._done += steps
        rows = self.rows()
        table.write(self._folder / "trials.csv", self._plan.names, rows)
        if self._plan.flags.values["tensorboard"]:
            values, runs = self._ended[trial.trial_id]
            hparams_record.ended(
                self._plan, self._folder, trial.trial_id, values, dict(runs)
            )
        keeps_all = self._plan.search.keep_trials == "all"
        # A promoted trial goes on from there.
        if not keeps_all and self._plan.search.tuner != "hyperband":
            self._tidy(trial)
        start = "\r\033[K" if sys.stdout.isatty() else ""
        print(f"{start}{self._standing()}", flush=True)

    def rows(self):
        """Returns the rows of trials.csv, sorted."""
        return table.rows_of(
            self._plan.names,
            [(trial, *found) for trial, found in self._ended.items()],
        )

    def tidy(self):
        """Removes checkpoints and models of all trials, unless kept."""
        if self._plan.search.keep_trials == "results":
            for trial_id in self._ended:
                self._tidy(self._oracle.trials[trial_id])

    def _take(self, trial):
        """Adds a trial; returns the steps that it was to take."""
        values = trial.hyperparameters.values
        outcomes = self._oracle.outcomes(trial.trial_id)
        self._ended[trial.trial_id] = (
            self._plan.columns(values),
            list(outcomes.items()),
        )
        settings = self._plan.settings(values)
        steps = estimate.steps_of(self._plan, settings) // settings.epochs
        first = values.get("tuner/initial_epoch", 0)
        last = values.get("tuner/epochs", settings.epochs)
        steps *= (last - first) * len(outcomes)
        self._behind += steps
        return steps

    def _runs(self, trial):
        folder = self._oracle.trial_folder(trial.trial_id)
        return [folder / f"seed_{seed}" for seed in self._plan.seeds]

    def _tidy(self, trial):
        for run in self._runs(trial):
            for name in _LARGE:
                path = run / name
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def _standing(self):
        left = max(self._work.steps - self._behind, 0)
        return standing.text(
            min(len(self._ended) + 1, self._work.trials),
            self._work.trials,
            self._done,
            self._done + left,
            time.monotonic() - self._begin,
            results.best(self.rows(), self._plan.objective),
            objective=self._plan.objective,
            is_bound=self._work.is_bound,
        )
