"""What becomes of a trial whose runs have all ended."""

import statistics

from keras_tuner.engine import trial as trial_lib

from tfwd.tuning.engine import outcome as outcome_lib

# The gravest is named first: a failure may be the machine's.
_GRAVITY = (outcome_lib.FAILED, outcome_lib.DIVERGED, outcome_lib.PRUNED)


def judge(trial, outcomes, objective):
    """Gives a trial its status, and its score or its message.

    The score is the mean objective. Unless every seed was completed the trial
    has failed, also where one was pruned: it must not be chosen by a value of
    an epoch that others have left behind.

    Args:
        trial: The `keras_tuner.engine.trial.Trial`.
        outcomes: A dict of each seed's `Outcome`.
        objective: The `keras_tuner.Objective`.
    """
    bad = {
        seed: one
        for seed, one in outcomes.items()
        if one.status != outcome_lib.COMPLETED
    }
    if bad:
        seed = min(bad, key=lambda key: _GRAVITY.index(bad[key].status))
        trial.status = trial_lib.TrialStatus.FAILED
        trial.message = f"{bad[seed].status} (seed {seed}): {bad[seed].reason}"
        return
    values = [one.objective for one in outcomes.values()]
    trial.metrics.register(objective.name, direction=objective.direction)
    for value in values:
        trial.metrics.update(objective.name, value)
    trial.score = statistics.fmean(values)
    trial.status = trial_lib.TrialStatus.COMPLETED
