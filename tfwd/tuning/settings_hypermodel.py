"""A KerasTuner `HyperModel` over the flags of the training binary."""

import pathlib

import keras
import keras_tuner

from tfwd import arguments
from tfwd.training.config import fields
from tfwd.training.config import flagfile
from tfwd.training.config import settings as settings_lib
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.runs import logs
from tfwd.training.runs import run_files
from tfwd.training.setup import build
from tfwd.training.setup import inputs
from tfwd.training.setup import optimization as optimizer_lib
from tfwd.tuning import flags as flags_lib
from tfwd.tuning.engine import outcome
from tfwd.tuning.engine import promotion
from tfwd.tuning.runs import sources
from tfwd.tuning.runs import training_run
from tfwd.tuning.values import space as space_lib


class SettingsHyperModel(keras_tuner.HyperModel):
    """Runs of the training binary as the models of a KerasTuner search.

    `build(hp)` returns the untrained model of a trial. `fit(hp, model)` trains
    that run as the binary does, in the folder of the trial, where it goes on
    from its checkpoint if it was interrupted; `model` has the trained weights
    afterwards. It returns the last row of metrics.csv as a dict, so that every
    column can be the tuner's objective. The k-th execution of a trial has the
    seed of the settings + k.

    Args:
        settings: `tfwd.training.config.settings.Settings`.
        space: {name: text}, as `--search=NAME=TEXT` of `tfwd.tune`, such as
            {"learning_rate": "log:1e-4:1e-1"}.
        links: {name: text}, as `--link=NAME=TEXT`; see `tfwd.tuning.links`.

    Raises:
        ValueError: A name is no flag, a text has no such form, or an end of a
            range or a choice makes no run; one line.
    """

    def __init__(
        self,
        settings: settings_lib.Settings,
        space: dict[str, str],
        links: dict[str, str] | None = None,
    ):
        super().__init__()
        if not isinstance(settings, settings_lib.Settings):
            raise ValueError(
                "`settings` must be a Settings. "
                f"Received: settings={arguments.shown(settings)}"
            )
        lines = [
            tuple(f"{name}={text}" for name, text in (each or {}).items())
            for each in (space, links)
        ]
        self._space = space_lib.parse(
            flags_lib.Search(tuner="random", search=lines[0], link=lines[1])
        )
        self._flags = flagfile.Flags(fields.values(settings), frozenset())
        self._space.check(self._flags)
        self._sources = sources.Sources()
        # {trial id: executions in this process}.
        self._executions: dict[str, int] = {}

    def settings(self, hp):
        """Returns the `Settings` of a trial, links resolved."""
        for each in self._space.dimensions:
            each.declare(hp)
        values = {name: hp.get(name) for name in self._space.names}
        return self._space.settings(self._flags, values)

    def build(self, hp):
        """Returns the model of a trial, compiled, with its first weights."""
        settings = self.settings(hp)
        source = self._sources.of(settings)
        keras.utils.set_random_seed(settings.run.seed)
        plan = optimizer_lib.plan(
            settings, inputs.training_steps(settings, source)
        )
        strategy = strategy_lib.create(settings.distribution)
        return build.build(settings, strategy, source, plan).model

    def fit(self, hp, model, *_, callbacks=(), epochs=None, **__):
        """Trains the run of a trial; see the class.

        Args:
            hp: `keras_tuner.HyperParameters`.
            model: What `build(hp)` returned.
            callbacks: Those of KerasTuner, told of the last epoch.
            epochs: Where to end, by default after those of the settings, as
                Hyperband asks for it.

        Returns:
            {column: value} of the last row of metrics.csv.

        Raises:
            ValueError: Outside of a search the settings have no `output_dir`.
            keras_tuner.errors.FailedTrialError: The run diverged or failed.
        """
        settings = self._in_folder(self.settings(hp), hp, callbacks)
        status, reason = training_run.train(
            settings,
            self._sources.of(settings),
            goes_on=lambda done: epochs is None or done < epochs,
        )
        if status != outcome.COMPLETED:
            raise keras_tuner.errors.FailedTrialError(f"{status}: {reason}")
        files = run_files.Files(pathlib.Path(settings.run.output_dir))
        models = files.final_model, files.last_model
        trained = keras.saving.load_model(
            next(path for path in models if path.exists()), compile=False
        )
        model.set_weights(trained.get_weights())
        row = logs.read(files.metrics)[-1]
        result = {k: v for k, v in row.items() if v is not None}
        # KerasTuner saves the weights then.
        keras.callbacks.CallbackList(list(callbacks), model=model).on_epoch_end(
            int(row["epoch"]) - 1, logs=result
        )
        return result

    def _in_folder(self, settings, hp, callbacks):
        """Returns the settings with folder and seed of this execution.

        A trial that Hyperband has promoted goes on from a copy of its run.
        """
        for each in callbacks:
            if hasattr(each, "tuner") and hasattr(each, "trial"):
                trial_id = each.trial.trial_id
                count = self._executions.get(trial_id, 0)
                self._executions[trial_id] = count + 1
                seed = settings.run.seed + count
                folder = _run_of(each.tuner, trial_id, seed)
                past = hp.values.get("tuner/trial_id")
                if past is not None:
                    promotion.copy(_run_of(each.tuner, past, seed), folder)
                return settings.replace(seed=seed, output_dir=str(folder))
        if settings.run.output_dir is None:
            raise ValueError(
                "`settings` must have an output_dir to train outside of a "
                "search. Received: output_dir=None"
            )
        return settings


def _run_of(tuner, trial_id, seed):
    return pathlib.Path(tuner.get_trial_dir(trial_id), f"seed_{seed}")
