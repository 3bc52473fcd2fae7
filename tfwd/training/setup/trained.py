"""A trained model with its optimizer and data, from a file or from a run."""

import dataclasses

import keras

from tfwd.training.checkpoint import stored as stored_lib
from tfwd.training.config import choices
from tfwd.training.config import flagfile
from tfwd.training.config import paths
from tfwd.training.config import rules
from tfwd.training.config import settings as settings_lib
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.runs import resumption
from tfwd.training.runs import run_files
from tfwd.training.setup import build
from tfwd.training.setup import inputs
from tfwd.training.setup import optimization as optimizer_lib
from tfwd.training.setup import saved_model


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model that is there to be looked at.

    Attributes:
        model: The model.
        optimizer: Its optimizer as it was last, or None.
        source: The data set.
        strategy: The strategy that made the model.
        task: Either "classification" or "language_model".
        epoch: Finished epochs, None if they are not known.
        step: Training steps, None if they are not known.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer | None
    source: object
    strategy: object
    task: str
    epoch: int | None = None
    step: int | None = None


def of_file(path, dataset, data_dir=None, model=None):
    """Loads a .keras file, compiled as it was saved.

    Args:
        path: The file.
        dataset: Name of the data set.
        data_dir: The folder of the data set, where it needs one.
        model: None, or the function whose module registers its layers.

    Returns:
        A `Trained`.

    Raises:
        ValueError: No model in the file, or one for other data.
    """
    settings = settings_lib.Settings(
        mode="eval",
        model_file=path,
        dataset=dataset,
        data_dir=data_dir,
        model=model or ("lstm" if dataset == "ptb" else "mlp"),
    )
    strategy = strategy_lib.create(settings.distribution)
    source, model = saved_model.read(settings, strategy, with_optimizer=True)
    optimizer = model.optimizer if model.compiled else None
    return Trained(
        model,
        optimizer,
        source,
        strategy,
        choices.task(settings.model.model),
        step=int(optimizer.iterations) if optimizer else None,
    )


def of_run(folder, data_dir=None):
    """Builds the model of a run and restores its newest checkpoint.

    On one device, whatever the strategy of the run was.

    Args:
        folder: The run's folder, or its folder of checkpoints.
        data_dir: The folder of the data set, if not that of the run's flags.

    Returns:
        A `Trained`.

    Raises:
        ValueError: It is no run, has no checkpoint that can be read, or its
            data set is not there.
    """
    path = paths.expanded("checkpoint", folder, "a run's folder")
    if path == run_files.Files(path.parent).checkpoints:
        path = path.parent
    files = run_files.Files(path)
    if not files.flags.is_file():
        rules.refuse(
            "checkpoint",
            f"must be a run's folder, with {files.flags.name}",
            path,
        )
    recorded = flagfile.recorded(files.flags)
    settings = recorded.replace(
        strategy="default",
        num_devices=None,
        virtual_cpus=None,
        data_dir=data_dir or recorded.data.data_dir,
    )
    try:
        stored = stored_lib.read_newest(files.checkpoints)
    except (OSError, stored_lib.UnreadableError) as error:
        rules.refuse(
            "checkpoint", f"must have one that can be read ({error})", path
        )
    if stored is None:
        rules.refuse("checkpoint", "must have one that can be read", path)
    strategy = strategy_lib.create(settings.distribution)
    source = inputs.load(settings.data)
    plan = optimizer_lib.plan(
        settings,
        # Those of the strategy that it was trained under.
        inputs.training_steps(recorded, source),
        learning_rate_factor=0.5**stored.progress.restores,
    )
    built = build.build(settings, strategy, source, plan)
    loop = build.make_loop(
        settings, strategy, source, built.model, built.optimizer
    )
    resumption.checkpoints_of(settings, files.checkpoints, built, loop).restore(
        stored
    )
    return Trained(
        built.model,
        built.optimizer,
        source,
        strategy,
        choices.task(settings.model.model),
        stored.progress.epoch,
        stored.progress.step,
    )
