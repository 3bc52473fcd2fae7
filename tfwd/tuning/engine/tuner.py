"""Runs the trials that an oracle asks for, in one process or in several."""

import contextlib
import errno
import io
import json
import os
import pathlib
import statistics
import time

from keras_tuner.engine import base_tuner

from tfwd import durable
from tfwd.training.config import usage
from tfwd.training.runs import lock
from tfwd.tuning.engine import chief
from tfwd.tuning.engine import durable_oracle
from tfwd.tuning.engine import outcome as outcome_lib
from tfwd.tuning.engine import promotion
from tfwd.tuning.engine import worker

# Seconds until what was not possible is tried again.
_PAUSE = 1.0
# Seconds after which a file that the chief has written must be seen here.
_SHARED = 60.0
_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


class Tuner(base_tuner.BaseTuner):
    """Runs every trial with every seed, and goes on where it was stopped.

    A process with KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT in its
    environment is the chief if "chief" is part of its KERASTUNER_TUNER_ID, and
    a worker otherwise; all share one folder. Only one process that is no worker
    may use a folder at a time, which is for the caller to see to.

    Args:
        oracle: A `durable_oracle.DurableOracle`.
        run: A function of the values of a trial, the `pathlib.Path` of its
            folder and a seed that returns the `outcome.Outcome` of that run.
            It goes on with a run that was interrupted. An exception is a failed
            run, but for a full disk, and for a `lock.HeldError` behind it:
            another process is at it still, and it is tried again.
            What is no `Exception`, such as `stopped.Stopped`, ends the search
            at once, and the trial stays ongoing.
        folder: The `pathlib.Path` of the search.
        pause: Seconds until what was not possible is tried again.
        patience: Seconds that a chief may be away.
        beat: Seconds between a worker's signs of life.
        farewell: Seconds after which the chief does not wait for a silent
            worker at the end.

    Raises:
        ValueError: The folder cannot be read.
        tfwd.durable.WriteError: It cannot be written.
    """

    def __init__(
        self,
        oracle,
        run,
        folder,
        *,
        pause=_PAUSE,
        patience=worker.PATIENCE,
        beat=worker.BEAT,
        farewell=chief.FAREWELL,
    ):
        folder = pathlib.Path(folder).absolute()
        # It says that it reloads.
        with contextlib.redirect_stdout(io.StringIO()):
            super().__init__(
                oracle, directory=str(folder.parent), project_name=folder.name
            )
        self.folder = folder
        self.seeds = oracle.seeds
        self._run = run
        self._pause = pause
        self._farewell = farewell
        self._role = _role(self.tuner_id)
        if self._role == "worker":
            self.oracle = worker.Client(oracle, patience, beat)
            return
        if self._role == "single":
            # Nobody else is there: who has an ongoing trial is gone.
            oracle.silence = 0
        oracle.reload()
        self.save()

    def save(self):
        """Writes oracle.json and tuner0.json, which is KerasTuner's sign."""
        if self._role != "worker":
            self.oracle.save()
            durable.write_text(self.folder / "tuner0.json", json.dumps({}))

    def reload(self):
        """Does nothing: the constructor has read the folder."""

    def search(self):
        """Runs trials until none is left; as the chief, has them run.

        Raises:
            stopped.Stopped: A run was asked to stop.
            tfwd.durable.WriteError: The disk is full.
            worker.ChiefError: The chief is gone or has failed.
        """
        if self._role == "chief":
            chief.serve(self.oracle, self._farewell)
            return
        while True:
            trial = self.oracle.create_trial(self.tuner_id)
            if trial.status == durable_oracle.STOPPED:
                return
            if trial.status == durable_oracle.IDLE:
                time.sleep(self._pause)
                continue
            with self._alive():
                self.run_trial(trial)
            self.oracle.end_trial(trial)

    def run_trial(self, trial):
        """Makes the runs of a trial that have not been made yet.

        Returns:
            The mean objective of its seeds, None if one was not completed.
        """
        folder = self.folder / f"trial_{trial.trial_id}"
        values = self._values(folder)
        while True:
            try:
                held = lock.Lock(folder)
            except lock.HeldError:
                # By a worker that was thought dead, and may end the trial yet.
                time.sleep(self._pause)
                continue
            try:
                return self._run_seeds(values, folder)
            finally:
                held.release()

    def _run_seeds(self, values, folder):
        past = values.get("tuner/trial_id")
        for seed in self.seeds:
            if outcome_lib.read(folder, seed) is not None:
                continue
            if past is not None:
                name = f"seed_{seed}"
                source = self.folder / f"trial_{past}" / name
                promotion.copy(source, folder / name)
            outcome = self._outcome(values, folder, seed)
            durable.write_text(
                outcome_lib.path_of(folder, seed), outcome.to_json()
            )
        found = [outcome_lib.read(folder, seed) for seed in self.seeds]
        if any(one.status != outcome_lib.COMPLETED for one in found):
            return None
        return statistics.fmean(one.objective for one in found)

    def _outcome(self, values, folder, seed):
        while True:
            begin = time.monotonic()
            try:
                return self._run(dict(values), folder, seed)
            except Exception as error:
                causes = list(_causes(error))
                if any(_is_full(cause) for cause in causes):
                    raise
                if not any(isinstance(each, lock.HeldError) for each in causes):
                    seconds = time.monotonic() - begin
                    return outcome_lib.failed(error, seconds)
            time.sleep(self._pause)

    def _values(self, folder):
        """The values of a trial with all their digits."""
        path = folder / "trial.json"
        begin = time.monotonic()
        while True:
            try:
                state = json.loads(path.read_text(encoding="utf-8"))
                return state["hyperparameters"]["values"]
            except FileNotFoundError as error:
                if time.monotonic() - begin > _SHARED:
                    raise usage.UsageError(
                        "The folder of a search must be shared by its chief "
                        f"and its workers. Received: {path}, which is not there"
                    ) from error
            time.sleep(self._pause)

    def _alive(self):
        if self._role == "worker":
            return self.oracle.alive(self.tuner_id)
        return contextlib.nullcontext()


def _role(tuner_id):
    """As KerasTuner tells them apart."""
    if "KERASTUNER_ORACLE_IP" not in os.environ:
        return "single"
    return "chief" if "chief" in tuner_id else "worker"


def _is_full(error):
    return isinstance(error, durable.WriteError) or (
        isinstance(error, OSError) and error.errno in _IS_FULL
    )


def _causes(error):
    """An exception and those behind it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
