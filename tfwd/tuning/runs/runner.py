"""What a search does for one seed of a trial: a run of the training binary."""

from tfwd.tuning.engine import outcome
from tfwd.tuning.engine import pruning
from tfwd.tuning.runs import histories
from tfwd.tuning.runs import training_run


class Runner:
    """Trains runs of a search.

    Args:
        plan: The `plan.Plan` of the search.
        folder: The `pathlib.Path` of the search.
        on_epoch: Called with the `Settings` of a run, its finished epochs, and
            those of them that another trial has trained, before each epoch.
    """

    def __init__(self, plan, folder, on_epoch=lambda *_: None):
        self._plan = plan
        self._histories = histories.Histories(folder, plan.objective)
        self._on_epoch = on_epoch

    def __call__(self, values, trial_folder, seed):
        """Trains the run of a trial's values and a seed to its end.

        Args:
            values: {name: value} of the trial; Hyperband's "tuner/epochs" says
                where it ends, if it is there.
            trial_folder: The `pathlib.Path` of the trial.
            seed: Of the run.

        Returns:
            An `outcome.Outcome`.

        Raises:
            BusyError: Another process trains it.
            Stopped: A signal asked the process to end.
            OSError: A disk fails.
        """
        folder = trial_folder / f"seed_{seed}"
        for other in self._plan.seeds:
            known = outcome.read(trial_folder, other)
            if known is not None and known.status == outcome.PRUNED:
                reason = f"not begun, as seed {other} was pruned"
                return outcome.Outcome(outcome.PRUNED, None, 0, None, 0, reason)
        settings = self._plan.settings(values).replace(
            seed=seed,
            output_dir=str(folder),
            resume="auto",
        )
        first = values.get("tuner/initial_epoch", 0)
        last = values.get("tuner/epochs", settings.schedule.epochs)
        source = self._plan.sources.of(settings)
        reason = None

        def goes_on(done):
            nonlocal reason
            self._on_epoch(settings, done, first)
            if done < last:
                reason = self._pruned(folder) if done else None
            return done < last and reason is None

        ended = training_run.train(
            settings,
            source,
            self._plan.evaluated(source),
            goes_on,
        )
        if reason is not None:
            ended = outcome.PRUNED, reason
        return training_run.outcome_of(
            folder, ended, self._plan.objective, self._plan.search.select_on
        )

    def _pruned(self, folder):
        """Returns why a run is not worth another epoch, None if it is."""
        rule = self._plan.search.prune
        if rule == "none":
            return None
        decide = {"median": pruning.median, "halving": pruning.halving}
        return decide[rule](
            self._histories.of(folder), self._histories.others(folder)
        )
