"""The data set of a run, as batches for every replica."""

import contextlib
import dataclasses
import functools

import tensorflow as tf

from tfwd import data
from tfwd.training.config import choices
from tfwd.training.config import paths
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.loop import accumulation
from tfwd.training.setup import limits

# What a data set's damaged files make TensorFlow raise; a worker that has died
# makes it raise the others.
_OF_DATA = (
    tf.errors.DataLossError,
    tf.errors.FailedPreconditionError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnknownError,
    # In place of one of them, where it quotes bytes of a file.
    UnicodeDecodeError,
)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A split distributed over the replicas, and its number of steps."""

    batches: object
    steps: int


def load(settings):
    """The data set that the settings ask for.

    Raises:
        ValueError: There is none in its folder, or a flag does not fit it.
    """
    if settings.data_dir is not None:
        paths.expanded("data_dir", settings.data_dir, "a folder")
    source = data.load(
        settings.dataset,
        data_dir=settings.data_dir,
        num_validation=settings.num_validation,
        train_fraction=settings.train_fraction,
        bptt=settings.bptt,
    )
    limits.check_data(settings, source)
    return source


@contextlib.contextmanager
def named_damage(source_of):
    """Names the damaged file where TensorFlow failed because of one.

    Args:
        source_of: Function that returns the data set.

    Raises:
        ValueError: A file of the data set is damaged.
    """
    try:
        yield
    except _OF_DATA:
        source = source_of()
        print(f"Looking for damaged files of {source.name}", flush=True)
        source.find_damage()
        # Then it is not about the data.
        raise


def training_steps(settings, source):
    """Returns the training steps of an epoch, on TPUs of full batches."""
    return source.training_steps(
        settings.data.batch_size, drop_remainder=_drops(settings.distribution)
    )


def windows(settings, source):
    """Returns the `accumulation.Windows` of the run."""
    return accumulation.Windows(
        training_steps(settings, source),
        settings.optimizer.accumulation_steps or 1,
    )


def examples_of_epoch(settings, source):
    """Returns how many training examples the batches of an epoch share.

    No batch of a text is a partial one, as its streams are equally long, and
    none of a TPU.
    """
    size, batch_size = source.size("train"), settings.data.batch_size
    is_text = choices.task(settings.model.model) == "language_model"
    if size >= batch_size and (is_text or _drops(settings.distribution)):
        return size - size % batch_size
    return size


def training_batches(settings, source, strategy, step):
    """Returns this process's batches from a step on, not yet distributed.

    Args:
        settings: `Settings`.
        source: What `load` returned.
        strategy: The strategy of the run.
        step: Training steps since the start of the run.
    """
    epoch, step = divmod(step, training_steps(settings, source))
    return source.training_batches(
        settings.data.batch_size,
        seed=settings.run.seed,
        augment=settings.data.augment,
        shard=strategy_lib.shard(strategy),
        first_epoch=epoch,
        first_step=step,
        finished=not _finishes_on_device(),
        drop_remainder=_drops(settings.distribution),
    )


def evaluation_splits(settings, source, strategy, splits=None):
    """{"train" | "validation" | "test": `Evaluation`}, without augmentation.

    Of the named `splits` that there are; by default of all.
    """
    # The streams of a text are rows of the carried state.
    size = (
        settings.data.batch_size
        if choices.task(settings.model.model) == "language_model"
        else settings.data.eval_batch_size
    )
    return {
        split: Evaluation(
            distributed(
                strategy,
                # Without an end no replica has to ask whether there is more.
                source.evaluation_batches(
                    split,
                    size,
                    shard=strategy_lib.shard(strategy),
                    finished=not _finishes_on_device(),
                ).repeat(),
            ),
            source.evaluation_steps(split, size),
        )
        for split in source.split_names
        if splits is None or split in splits
    }


def distributed(strategy, batches):
    """Returns batches that were made for the replicas in turn, handed out."""
    return strategy.distribute_datasets_from_function(lambda context: batches)


def finisher(settings, source):
    """What the input pipeline leaves to the step.

    Returns:
        A function of (`Batch`, whether it is a training step): on an
        accelerator it augments and normalizes.
    """

    def finish(batch, training):
        if not _finishes_on_device():
            return batch
        return source.finish(batch, training and settings.augment)

    return finish


def _drops(settings):
    # A TPU compiles for one shape.
    return settings.strategy == "tpu"


@functools.cache
def _finishes_on_device():
    return any(
        device.device_type not in ("CPU", "XLA_CPU")
        for device in tf.config.list_logical_devices()
    )
