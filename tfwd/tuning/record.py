"""What a search has found so far, written and shown after every trial."""

import shutil
import sys
import time

from tfwd.training.config import usage
from tfwd.training.runs import run_files
from tfwd.tuning.engine import durable_oracle
from tfwd.tuning.output import hparams_record
from tfwd.tuning.output import results
from tfwd.tuning.output import standing
from tfwd.tuning.output import trials_table


class Record:
    """Keeps trials.csv in step with the trials that have ended.

    Args:
        plan: A `plan.Plan`.
        folder: The `pathlib.Path` of the search.
        is_chief: Whether other processes train its runs.
    """

    def __init__(self, plan, folder, is_chief=False):
        self._plan = plan
        self._folder = folder
        self._is_chief = is_chief
        # A run has a log for its output.
        self._output = sys.stdout
        self._oracle = None
        self._work = None
        # {trial id: (its values, [(seed, outcome)])}.
        self._ended = {}
        self._best = None
        # Training steps of the trials that have ended, which they may not have
        # come to, and those that were done since this process began.
        self._behind = 0
        self._done = 0
        self._begin = time.monotonic()
        # {folder of a run of the trial that goes on: its steps}.
        self._ongoing = {}

    def begin(self, oracle, work):
        """Takes over what earlier processes have found.

        Args:
            oracle: The `durable_oracle.DurableOracle`, which has read it.
            work: The `estimate.Work` of the search.

        Raises:
            UsageError: The outcome of a trial that has ended is not there.
            WriteError: The disk is full.
        """
        self._oracle, self._work = oracle, work
        try:
            for trial_id in oracle.end_order:
                self._take(oracle.trials[trial_id])
        except durable_oracle.MissingOutcomeError as error:
            raise usage.UsageError(
                "The folder of a search must have the outcome of every trial "
                f"that has ended. Received: {error}"
            ) from error
        if self._ended:
            self._write()
        self._begin = time.monotonic()
        if self._plan.flags.values["tensorboard"]:
            hparams_record.begin(self._plan, self._folder)

    def epoch(self, settings, epochs, first=0):
        """Counts an epoch of a run of this process.

        Args:
            settings: The `Settings` of the run.
            epochs: How many of it are finished.
            first: How many of them are those of an earlier trial.
        """
        steps = (epochs - first) * self._plan.sources.training_steps(settings)
        # What an earlier process has done was not done in the time measured.
        self._done += steps - self._ongoing.get(settings.run.output_dir, steps)
        self._ongoing[settings.run.output_dir] = steps
        if self._output.isatty():
            self._show(end="")

    def ended(self, trial):
        """Writes a trial that has ended, and shows where the search stands.

        Raises:
            WriteError: The disk is full.
        """
        steps = self._take(trial)
        if self._is_chief:
            self._done += steps
        for run in self._runs(trial):
            self._ongoing.pop(str(run), None)
        self._write()
        if self._plan.flags.values["tensorboard"]:
            values, runs = self._ended[trial.trial_id]
            hparams_record.ended(
                self._plan, self._folder, trial.trial_id, values, dict(runs)
            )
        # A promoted trial goes on from there.
        if self._plan.search.tuner != "hyperband":
            self._tidy(trial)
        self._show(end="\n")

    def rows(self):
        """Returns the rows of trials.csv, sorted."""
        return trials_table.rows_of(
            self._plan.names,
            [(trial, *found) for trial, found in self._ended.items()],
        )

    def tidy(self):
        """Removes checkpoints and models of all trials, unless kept."""
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
        first = values.get("tuner/initial_epoch", 0)
        last = values.get("tuner/epochs", settings.schedule.epochs)
        epochs = (last - first) * len(outcomes)
        steps = epochs * self._plan.sources.training_steps(settings)
        self._behind += steps
        return steps

    def _runs(self, trial):
        folder = self._oracle.trial_folder(trial.trial_id)
        return [folder / f"seed_{seed}" for seed in self._plan.seeds]

    def _tidy(self, trial):
        if self._plan.search.keep_trials == "all":
            return
        for run in self._runs(trial):
            files = run_files.Files(run)
            # What only going on with it would need.
            for path in (files.checkpoints, *files.models):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def _write(self):
        rows = self.rows()
        self._best = results.best(rows, self._plan.objective)
        trials_table.write(self._folder / "trials.csv", self._plan.names, rows)

    def _show(self, end):
        left = self._work.steps - self._behind - sum(self._ongoing.values())
        text = standing.text(
            min(len(self._ended) + 1, self._work.trials),
            self._work.trials,
            self._done,
            self._done + max(left, 0),
            time.monotonic() - self._begin,
            self._best,
            objective=self._plan.objective,
            is_bound=self._work.is_bound,
        )
        if self._output.isatty():
            text = f"\r{text}\033[K"
        print(text, end=end, file=self._output, flush=True)
