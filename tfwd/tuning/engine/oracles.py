"""Which trial comes next: KerasTuner's oracles, made durable, and a grid."""

import copy
import warnings

import keras_tuner
import numpy as np
from keras_tuner.engine import trial as trial_lib

from tfwd.tuning.engine import durable_oracle
from tfwd.tuning.engine.hyperband_oracle import HyperbandOracle

__all__ = [
    "BayesianOracle",
    "GridOracle",
    "HyperbandOracle",
    "RandomOracle",
]


class GridOracle(durable_oracle.DurableOracle):
    """Trial k is cell k of a grid, whatever came before it.

    Args:
        cells: A list of dicts, the values of each cell.
        **kwargs: Of `durable_oracle.DurableOracle`.
    """

    def __init__(self, cells, **kwargs):
        super().__init__(max_trials=len(cells), **kwargs)
        self.cells = list(cells)

    def populate_space(self, trial_id):
        """Returns the values of the cell that the trial's id names."""
        values = dict(self.cells[int(trial_id)])
        return {"status": durable_oracle.RUNNING, "values": values}


class RandomOracle(
    durable_oracle.DurableOracle, keras_tuner.oracles.RandomSearchOracle
):
    """KerasTuner's random search, durable."""


class BayesianOracle(
    durable_oracle.DurableOracle, keras_tuner.oracles.BayesianOptimizationOracle
):
    """KerasTuner's Bayesian optimization, durable.

    KerasTuner leaves failed trials out, so that the model learns nothing from
    them and asks for the same point again. Here they count as the worst
    completed one.

    Args:
        *args: Of `durable_oracle.DurableOracle`.
        **kwargs: Of `durable_oracle.DurableOracle`.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Both were made of a seed that KerasTuner takes for none if it is 0.
        self.gpr = self._make_gpr()

    def populate_space(self, trial_id):
        """Returns random values at first, then the most promising ones."""
        # By the trial's number, so that it is the same after a kill.
        self._random_state = np.random.RandomState([self.seed, int(trial_id)])
        with warnings.catch_warnings():
            # A length scale at its bound, as where a value does not matter.
            warnings.simplefilter("ignore")
            return super().populate_space(trial_id)

    def _vectorize_trials(self):
        scores = [
            trial.score
            for trial in self.trials.values()
            if trial.status == trial_lib.TrialStatus.COMPLETED
        ]
        worst = (
            min(scores) if self.objective.direction == "max" else max(scores)
        )
        trials = self.trials
        self.trials = {
            trial_id: _scored(trial, worst)
            if trial.status == trial_lib.TrialStatus.FAILED
            else trial
            for trial_id, trial in trials.items()
        }
        try:
            return super()._vectorize_trials()
        finally:
            self.trials = trials


def _scored(trial, score):
    trial = copy.copy(trial)
    trial.status = trial_lib.TrialStatus.COMPLETED
    trial.score = score
    return trial
