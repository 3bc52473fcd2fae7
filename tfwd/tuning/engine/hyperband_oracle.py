"""Hyperband that goes on where trials have failed.

Li et al., Hyperband: A Novel Bandit-Based Approach to Hyperparameter
Optimization, JMLR 18 (2018), http://jmlr.org/papers/v18/16-558.html.
"""

import keras_tuner
from keras_tuner.engine import trial as trial_lib

from tfwd.tuning.engine import durable_oracle

_COMPLETED = trial_lib.TrialStatus.COMPLETED
_DONE = (_COMPLETED, trial_lib.TrialStatus.FAILED)


class HyperbandOracle(
    durable_oracle.DurableOracle, keras_tuner.oracles.HyperbandOracle
):
    """KerasTuner's Hyperband, durable.

    KerasTuner promotes a trial when more of its round are completed than will
    be thrown out. Of a round in which many failed it promotes nobody. Here the
    failed ones are the first to be thrown out.

    Args:
        *args: Of `durable_oracle.DurableOracle`.
        **kwargs: Of it and of `keras_tuner.oracles.HyperbandOracle`.
    """

    def budget(self):
        """Returns how many trials there will be, and their epochs in all.

        Of a promoted trial those count that its round adds.
        """
        trials = epochs = 0
        for bracket in range(self._get_num_brackets()):
            past = 0
            for number in range(self._get_num_rounds(bracket)):
                size = self._get_size(bracket, number)
                until = self._get_epochs(bracket, number)
                trials += size
                epochs += size * (until - past)
                past = until
        return (
            trials * self.hyperband_iterations,
            epochs * self.hyperband_iterations,
        )

    def populate_space(self, trial_id):
        """Returns a promoted trial's values, or random ones.

        With "tuner/epochs", up to which it trains, "tuner/initial_epoch",
        where it begins, and "tuner/trial_id", whose run it goes on with.
        """
        self._remove_completed_brackets()
        for bracket in self._brackets:
            rounds = bracket["rounds"]
            if len(rounds[0]) < self._get_size(bracket["bracket_num"], 0):
                return self._random_trial(trial_id, bracket)
            for number in range(1, len(rounds)):
                best = self._best_to_promote(bracket, number)
                if best is not None:
                    rounds[number].append(
                        {"past_id": best.trial_id, "id": trial_id}
                    )
                    return self._promoted(best, bracket["bracket_num"], number)
        if not self._is_last_bracket():
            self._increment_bracket_num()
            self._start_new_bracket()
            return self._random_trial(trial_id, self._brackets[-1])
        is_waiting = bool(self.ongoing_trials)
        return {
            "status": durable_oracle.IDLE
            if is_waiting
            else durable_oracle.STOPPED
        }

    def _is_last_bracket(self):
        return (
            self._current_bracket == 0
            and self._current_iteration + 1 == self.hyperband_iterations
        )

    def _best_to_promote(self, bracket, number):
        """The best trial left of the round before, None while too few ended."""
        promoted = {each["past_id"] for each in bracket["rounds"][number]}
        past = [
            self.trials[each["id"]]
            for each in bracket["rounds"][number - 1]
            if each["id"] not in promoted
        ]
        ended = [trial for trial in past if trial.status in _DONE]
        size = self._get_size(bracket["bracket_num"], number)
        thrown_out = self._get_size(bracket["bracket_num"], number - 1) - size
        completed = [trial for trial in ended if trial.status == _COMPLETED]
        if len(ended) <= thrown_out or not completed:
            return None
        pick = max if self.objective.direction == "max" else min
        return pick(completed, key=lambda trial: trial.score)

    def _promoted(self, best, bracket_num, number):
        values = best.hyperparameters.values | {
            "tuner/trial_id": best.trial_id,
            "tuner/epochs": self._get_epochs(bracket_num, number),
            "tuner/initial_epoch": self._get_epochs(bracket_num, number - 1),
            "tuner/bracket": bracket_num,
            "tuner/round": number,
        }
        return {"status": durable_oracle.RUNNING, "values": values}
