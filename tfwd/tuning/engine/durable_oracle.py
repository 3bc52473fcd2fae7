"""What KerasTuner's oracles do wrong, put right for all of them.

Checked against KerasTuner 1.4.8, whose private names stand here. The files are
its own: an unchanged KerasTuner reads them.
"""

import json
import math
import pathlib
import threading
import time

import keras_tuner
from keras_tuner.engine import trial as trial_lib

from tfwd import durable
from tfwd.training.config import usage
from tfwd.tuning.engine import outcome as outcome_lib
from tfwd.tuning.engine import verdict

# Seconds without a word from a tuner, which sends one every ten, after which
# its trial may be given to another.
SILENCE = 60.0

RUNNING = trial_lib.TrialStatus.RUNNING
IDLE = trial_lib.TrialStatus.IDLE
STOPPED = trial_lib.TrialStatus.STOPPED


class MissingOutcomeError(Exception):
    """A trial was said to have ended, but not all its outcomes are there."""


class DurableOracle(keras_tuner.Oracle):
    """Comes before one of KerasTuner's oracles among the bases of a class.

    oracle.json is the truth: what it has not started, did not start, and what
    it has not ended, goes on. It is written in one piece, after the trial.json
    that it speaks of.

    Where there is nothing left to start, a tuner is given a trial of another
    one that has been silent for long. Whether that is really dead, the lock of
    the trial's folder tells.

    A trial's outcome is taken from the files of its seeds, since the messages
    between processes have scores of 32 bits and no room for a reason;
    `verdict` says what becomes of it. None is retried, and no number of
    failures ends the search.

    Args:
        *args: Positional arguments of KerasTuner's oracle.
        seeds: With which seeds the runs of every trial are made.
        on_end: A function of a `keras_tuner.engine.trial.Trial` that has
            ended, or None. It is called before oracle.json says so, so that
            after a kill it is called again rather than never.
        silence: Seconds after which a tuner counts as lost.
        seed: An integer of at least 0, of the oracle itself.
        **kwargs: Keyword arguments of KerasTuner's oracle.
    """

    def __init__(
        self,
        *args,
        seeds=(0,),
        on_end=None,
        silence=SILENCE,
        seed=0,
        **kwargs,
    ):
        super().__init__(
            *args, seed=seed, max_consecutive_failed_trials=math.inf, **kwargs
        )
        # KerasTuner takes 0 for none.
        self.seed = self._seed_state = seed
        self.verbose = 0
        self.seeds = tuple(seeds)
        self.on_end = on_end
        self.silence = silence
        # KerasTuner's own lock stays locked after an error.
        self._lock = threading.RLock()
        self._heard = {}
        self._begin = time.monotonic()
        self._is_exhausted = False

    @property
    def folder(self):
        """The `pathlib.Path` of the search."""
        return pathlib.Path(self._directory) / self._project_name

    def trial_folder(self, trial_id):
        """The `pathlib.Path` of a trial."""
        return self.folder / f"trial_{trial_id}"

    def create_trial(self, tuner_id):
        """Returns the trial of a tuner, its last one until that has ended.

        Its status is RUNNING, IDLE where it should ask again, or STOPPED.

        Raises:
            tfwd.durable.WriteError: The disk is full.
        """
        with self._lock:
            self._heard[tuner_id] = time.monotonic()
            self.tuner_ids.add(tuner_id)
            if tuner_id in self.ongoing_trials:
                return self.ongoing_trials[tuner_id]
            trial = self._next_trial()
            if trial.status == RUNNING:
                self._start(trial, tuner_id)
                return trial
            self._is_exhausted |= trial.status == STOPPED
            if not self.ongoing_trials:
                if trial.status == STOPPED:
                    self.tuner_ids.discard(tuner_id)
                return trial
            return self._taken_over(tuner_id) or _empty(trial.trial_id, IDLE)

    def end_trial(self, trial):
        """Ends a trial by the outcomes in its folder; of `trial` the id counts.

        Raises:
            MissingOutcomeError: Not all of them are there.
            tfwd.durable.WriteError: The disk is full.
        """
        with self._lock:
            trial = self.trials[trial.trial_id]
            # It may have been taken over, or told before the chief was killed.
            if trial.status != RUNNING:
                return
            outcomes = self.outcomes(trial.trial_id)
            verdict.judge(trial, outcomes, self.objective)
            self.end_order.append(trial.trial_id)
            for tuner_id, ongoing in list(self.ongoing_trials.items()):
                if ongoing is trial:
                    del self.ongoing_trials[tuner_id]
            self._save_trial(trial)
            if self.on_end is not None:
                self.on_end(trial)
            self.save()

    def outcomes(self, trial_id):
        """Returns the `Outcome` of every seed of a trial, in a dict.

        Raises:
            MissingOutcomeError: Not all of them are there.
        """
        folder = self.trial_folder(trial_id)
        found = {seed: outcome_lib.read(folder, seed) for seed in self.seeds}
        for seed, outcome in found.items():
            if outcome is None:
                raise MissingOutcomeError(
                    f"{outcome_lib.path_of(folder, seed)} is not there"
                )
        return found

    def is_over(self, farewell):
        """Whether all trials have ended and all tuners know.

        Args:
            farewell: Seconds after which one that does not ask is not there.
        """
        with self._lock:
            now = time.monotonic()
            return (
                self._is_all_started()
                and not self.ongoing_trials
                and all(
                    now - self._heard[tuner_id] > farewell
                    for tuner_id in self.tuner_ids
                )
            )

    def save(self):
        """Writes oracle.json.

        Raises:
            tfwd.durable.WriteError: The disk is full.
        """
        durable.make_folder(self.folder)
        _write(self.folder / "oracle.json", self.get_state())

    def reload(self):
        """Reads the folder, if it holds a search.

        Raises:
            ValueError: A file is missing or damaged; one line that names it.
        """
        path = self.folder / "oracle.json"
        if not path.exists():
            return
        with self._lock:
            state = _read(path)
            ended = set(state["end_order"])
            for trial_id in state["start_order"]:
                trial = trial_lib.Trial.from_state(
                    _read(self.trial_folder(trial_id) / "trial.json")
                )
                if trial_id not in ended:
                    # Its own file may say that it has ended.
                    trial = trial_lib.Trial(trial.hyperparameters, trial_id)
                self.trials[trial_id] = trial
            self.set_state(state)
            for trial in self.trials.values():
                self._record_values(trial)
            self._begin = time.monotonic()

    def get_state(self):
        """Returns what oracle.json holds.

        What was tried follows from the trials. To write it each time would
        take most of the time after thousands of them.
        """
        return super().get_state() | {
            "run_times": {},
            "tried_so_far": [],
            "id_to_hash": {},
        }

    def _next_trial(self):
        width = len(str(self.max_trials))
        trial_id = f"{len(self.trials):0{width}d}"
        if self._is_all_started():
            return _empty(trial_id, STOPPED)
        found = self.populate_space(trial_id)
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = found.get("values") or {}
        return trial_lib.Trial(hyperparameters, trial_id, found["status"])

    def _is_all_started(self):
        is_full = self.max_trials and len(self.trials) >= self.max_trials
        return self._is_exhausted or bool(is_full)

    def _start(self, trial, tuner_id):
        self._record_values(trial)
        self.ongoing_trials[tuner_id] = trial
        self.trials[trial.trial_id] = trial
        self.start_order.append(trial.trial_id)
        self._save_trial(trial)
        self.save()

    def _taken_over(self, tuner_id):
        """The first trial of a tuner that is lost, now that of `tuner_id`."""
        now = time.monotonic()
        for other, trial in self.ongoing_trials.items():
            if now - self._heard.get(other, self._begin) < self.silence:
                continue
            del self.ongoing_trials[other]
            self.tuner_ids.discard(other)
            self.ongoing_trials[tuner_id] = trial
            self.save()
            return trial
        return None

    def _save_trial(self, trial):
        folder = self.trial_folder(trial.trial_id)
        durable.make_folder(folder)
        _write(folder / "trial.json", trial.get_state())


def _write(path, state):
    durable.write_text(path, json.dumps(state))


def _empty(trial_id, status):
    return trial_lib.Trial(keras_tuner.HyperParameters(), trial_id, status)


def _read(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise usage.UsageError(
            f"{path} must be KerasTuner's, whole and readable. "
            f"Received: {error}"
        ) from error
