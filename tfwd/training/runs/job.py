"""A job: everything checked and built before the first file is written."""

import dataclasses
import warnings

import keras
import numpy as np
import tensorflow as tf

from tfwd.callbacks import mechanism_logger
from tfwd.training.checkpoint import checkpoint
from tfwd.training.checkpoint import due
from tfwd.training.checkpoint import progress as progress_lib
from tfwd.training.config import choices
from tfwd.training.config import effects
from tfwd.training.config import flag_lines
from tfwd.training.config import paths
from tfwd.training.config import rules
from tfwd.training.config import settings as settings_lib
from tfwd.training.distributed import cluster
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.distributed import watchdog
from tfwd.training.loop import loop as loop_lib
from tfwd.training.runs import output
from tfwd.training.runs import resumption
from tfwd.training.setup import build
from tfwd.training.setup import features as features_lib
from tfwd.training.setup import initial_weights
from tfwd.training.setup import inputs
from tfwd.training.setup import measurement
from tfwd.training.setup import optimization as optimizer_lib


@dataclasses.dataclass(frozen=True)
class Job:
    """What training needs; `progress` says how far the run has come.

    `features` are the callbacks that the settings ask for, the diagnostics
    among them, and `callbacks` those of the caller.
    """

    settings: settings_lib.Settings
    strategy: tf.distribute.Strategy
    source: object
    plan: optimizer_lib.Plan
    built: build.Built
    initial: initial_weights.Report | None
    loop: loop_lib.Loop
    evaluation: dict[str, inputs.Evaluation]
    diagnostics: mechanism_logger.MechanismLogger | None
    features: tuple
    callbacks: tuple
    checkpoints: checkpoint.Checkpoints
    progress: progress_lib.Progress
    folder: output.Folder

    @property
    def model(self):
        """The model."""
        return self.built.model

    @property
    def optimizer(self):
        """The optimizer."""
        return self.built.optimizer

    @property
    def steps_per_epoch(self):
        """Training steps in an epoch."""
        return inputs.training_steps(self.settings, self.source)

    def update_of(self, step):
        """Returns the update, from 1, that training step `step` is part of."""
        windows = inputs.windows(self.settings, self.source)
        return windows.at(step - 1).update + 1

    def learning_rate(self, step):
        """Returns η of the update that training step `step` is part of.

        By the plan, or as a callback has set it.
        """
        planned = optimizer_lib.value_at(
            self.plan.learning_rate, self.update_of(step)
        )
        if callable(self.plan.learning_rate):
            return planned
        now = float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
        # The optimizer has it with the digits of a float32.
        return planned if now == np.float32(planned) else now

    @property
    def task(self):
        """Either "classification" or "language_model"."""
        return choices.task(self.settings.model.model)

    @property
    def counts_top_5(self):
        """Whether evaluation counts the answers among the best five."""
        return self.loop.replica_step.counts_top_5

    @property
    def is_chief(self):
        """Whether this process writes the run's files."""
        return strategy_lib.is_chief(self.strategy)

    def local_batches(self, step):
        """Returns this process's batches from a step on, not distributed."""
        return inputs.training_batches(
            self.settings, self.source, self.strategy, step
        )

    def batches(self, step):
        """Returns the distributed batches from a step on, without end."""
        return inputs.distributed(self.strategy, self.local_batches(step))


def prepare(settings, previous=None, source=None, splits=None, callbacks=()):
    """Checks the settings against data, devices and model, and builds.

    Args:
        settings: `Settings` of mode "train".
        previous: The `Job` of this process whose loss stopped being finite:
            this one goes on from its last checkpoint with half the learning
            rate.
        source: What `inputs.load` returned for the same data; by default it
            is loaded.
        splits: Names of those that are evaluated; by default all.
        callbacks: Keras callbacks, called after those of the settings.

    Returns:
        A `Job` at the newest checkpoint of its folder, or at step 0. The
        folder holds flags.txt and what was there before, and is locked until
        `job.folder.release()` or the end of the process.

    Raises:
        ValueError: Something does not fit; one line that names the flag or
            the argument. Nothing has been written then.
    """
    optimizer_lib.check(settings)
    measurement.check(
        settings.run.diagnostics, choices.task(settings.model.model)
    )
    # Made here only to be checked.
    due.Every(settings.run.checkpoint_every)
    if settings.run.tensorboard:
        _check_tensorboard()
    is_chief = _is_chief(settings)
    if previous is not None:
        folder = previous.folder
    else:
        folder = output.choose(settings) if is_chief else _of_chief(settings)
    try:
        checkpoint.check_folder(folder.path)
        return _in_folder(
            folder, settings, previous, source, splits, callbacks, is_chief
        )
    except BaseException:
        folder.release()
        raise


def _in_folder(folder, settings, previous, source, splits, callbacks, is_chief):
    if previous is not None:
        strategy, source = previous.strategy, previous.source
        splits = tuple(previous.evaluation)
        callbacks = previous.callbacks
    else:
        settings = _completed(settings, folder)
        # Workers that never come are waited for here.
        with watchdog.Watchdog(settings.run.step_timeout):
            strategy = strategy_lib.create(settings.distribution)
    _seed(settings)
    _check_replicas(settings, strategy)
    if source is None:
        source = inputs.load(settings.data)
    strategy_lib.check_batches(
        strategy,
        settings.data.batch_size,
        inputs.examples_of_epoch(settings, source),
    )
    # Made here only to be checked.
    inputs.training_batches(settings, source, strategy, step=0)
    stored = resumption.stored(settings, folder)
    restores = previous.progress.restores + 1 if previous else 0
    if stored is not None:
        restores = max(restores, stored.progress.restores)
    plan = optimizer_lib.plan(
        settings,
        inputs.training_steps(settings, source),
        learning_rate_factor=0.5**restores,
    )
    built = build.build(settings, strategy, source, plan)
    initial = None
    # What a checkpoint holds began with them.
    if settings.model.init_from and stored is None and not folder.is_complete:
        initial = initial_weights.take(settings.model.init_from, built.model)
    loop = build.make_loop(
        settings, strategy, source, built.model, built.optimizer
    )
    evaluation = inputs.evaluation_splits(settings, source, strategy, splits)
    progress = progress_lib.Progress()
    if stored is not None:
        progress = dataclasses.replace(stored.progress)
    features = features_lib.of(settings, built.model, progress)
    diagnostics = features_lib.diagnostics(
        settings, strategy, source, built.model, progress
    )
    if stored is not None:
        resumption.check_epochs(settings, source, stored.progress)
    if is_chief:
        folder = output.create(folder, settings)
    if diagnostics is not None:
        features_lib.put(diagnostics, settings, folder.files)
        features.append(diagnostics)
    checkpoints = resumption.checkpoints_of(
        settings, folder.files.checkpoints, built, loop, is_chief
    )
    if stored is not None:
        resumption.restore(stored, checkpoints, loop)
        is_halved = restores != progress.restores
        if is_halved and not callable(plan.learning_rate):
            # A constant is one of the variables restored.
            built.optimizer.learning_rate = plan.learning_rate
    progress.restores = restores
    if is_chief and previous is None:
        for note in effects.notes(settings):
            warnings.warn(note, stacklevel=2)
    return Job(
        settings=settings,
        strategy=strategy,
        source=source,
        plan=plan,
        built=built,
        initial=initial,
        loop=loop,
        evaluation=evaluation,
        diagnostics=diagnostics,
        features=tuple(features),
        callbacks=tuple(callbacks),
        checkpoints=checkpoints,
        progress=progress,
        folder=folder,
    )


def _is_chief(settings):
    if settings.distribution.strategy != "multi_worker":
        return True
    if settings.run.output_dir is None:
        rules.refuse("output_dir", "is needed by --strategy=multi_worker", None)
    found = cluster.configure(
        settings.distribution.hosts(), settings.distribution.task_index
    )
    return found.is_chief


def _of_chief(settings):
    """The chief's folder, which the chief checks."""
    path = paths.expanded("output_dir", settings.run.output_dir, "a folder")
    return output.of_this_run(path, settings)


def _completed(settings, folder):
    """The settings, with what flags.txt has of a run that is gone on with."""
    if not folder.is_begun:
        return settings
    text = folder.files.flags.read_text(encoding="utf-8")
    return flag_lines.completed(settings, text.splitlines())


def _check_replicas(settings, strategy):
    replicas = strategy.num_replicas_in_sync
    if settings.model.jit_compile and replicas > 1:
        rules.refuse("jit_compile", f"needs one replica, not {replicas}", True)


def _seed(settings):
    keras.utils.set_random_seed(settings.run.seed)
    if settings.run.deterministic:
        tf.config.experimental.enable_op_determinism()


def _check_tensorboard():
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        rules.refuse("tensorboard", "needs `pip install tensorboard`", True)
