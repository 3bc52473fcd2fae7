"""A job: everything checked and built before the first file is written."""

import dataclasses
import pathlib

import keras
import tensorflow as tf

from tfwd import data
from tfwd import kfac
from tfwd import models
from tfwd.training import optimizer as optimizer_lib
from tfwd.training import output
from tfwd.training import rules
from tfwd.training import settings as settings_lib
from tfwd.training import strategy as strategy_lib


@dataclasses.dataclass(frozen=True)
class Batches:
    """A dataset distributed over the replicas, and its number of batches."""

    dataset: object
    steps: int


@dataclasses.dataclass(frozen=True)
class Job:
    """What training needs.

    `training.steps` is the number of one epoch, `registration` the report of
    K-FAC's `attach`, None for other optimizers.
    """

    settings: settings_lib.Settings
    strategy: tf.distribute.Strategy
    plan: optimizer_lib.Plan
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    registration: object | None
    training: Batches
    evaluation: dict[str, Batches]
    folder: pathlib.Path


def prepare(settings):
    """Checks the settings against data, devices and model, and builds.

    Args:
        settings: `Settings` of mode "train".

    Returns:
        A `Job`, whose folder holds flags.txt and nothing else.

    Raises:
        ValueError: Something does not fit; one line that names the flag or
            the argument. Nothing has been written then.
    """
    optimizer_lib.check(settings)
    if settings.tensorboard:
        _check_tensorboard()
    folder = output.choose(settings)
    _seed(settings)
    strategy = _strategy(settings)
    splits = load_data(settings)
    strategy_lib.check_batches(
        strategy, settings.batch_size, len(splits.train.labels)
    )
    training = Batches(
        strategy.experimental_distribute_dataset(
            data.training_batches(
                splits,
                settings.batch_size,
                seed=settings.seed,
                augment=settings.augment,
                num_epochs=settings.epochs,
            )
        ),
        _number_of_batches(splits.train, settings.batch_size),
    )
    plan = optimizer_lib.plan(settings, training.steps)
    with strategy.scope():
        model = models.build(
            settings.model,
            splits.image_shape,
            splits.num_classes,
            width=settings.width,
            batch_norm=settings.batch_norm,
            hidden_layers=settings.hidden_layers,
            hidden_units=settings.hidden_units,
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = plan.create()
        registration = None
        if isinstance(optimizer, kfac.KFAC):
            registration = optimizer.attach(model, loss=loss)
        optimizer.build(model.trainable_variables)
        # Not used by the loop: the saved model holds the optimizer's state
        # and can be evaluated by whoever loads it.
        model.compile(
            optimizer=optimizer,
            loss=loss,
            metrics=["accuracy"],
        )
    evaluation = evaluation_batches(settings, splits, strategy)
    output.create(folder, settings)
    return Job(
        settings,
        strategy,
        plan,
        model,
        optimizer,
        registration,
        training,
        evaluation,
        folder,
    )


def load_for_evaluation(settings):
    """Loads the model and the data of --mode=eval.

    Returns:
        (strategy, model, {split name: `Batches`}).

    Raises:
        ValueError: No model in the file, or one for other data.
    """
    strategy = _strategy(settings)
    path = pathlib.Path(settings.model_file).expanduser()
    if not path.is_file():
        rules.refuse("model_file", "must be an existing .keras file", path)
    splits = load_data(settings)
    with strategy.scope():
        try:
            model = keras.saving.load_model(path, compile=False)
        except (OSError, TypeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            rules.refuse(
                "model_file", f"must be a saved Keras model ({reason})", path
            )
    shapes = model.input_shape[1:], model.output_shape[-1]
    if shapes != (tuple(splits.image_shape), splits.num_classes):
        rules.refuse(
            "model_file",
            f"must take images {tuple(splits.image_shape)} and give "
            f"{splits.num_classes} logits for --dataset={settings.dataset}; "
            f"this model takes {shapes[0]} and gives {shapes[1]}",
            path,
        )
    return strategy, model, evaluation_batches(settings, splits, strategy)


def load_data(settings):
    """The splits of the data set that the settings ask for."""
    return data.load(
        settings.dataset,
        data_dir=settings.data_dir,
        num_validation=settings.num_validation,
        train_fraction=settings.train_fraction,
    )


def evaluation_batches(settings, splits, strategy):
    """{"train" | "validation" | "test": `Batches`}, without augmentation."""
    result = {}
    for name in ("train", "validation", "test"):
        examples = getattr(splits, name)
        if examples is not None:
            batches = data.evaluation_batches(
                examples, splits, settings.eval_batch_size
            )
            result[name] = Batches(
                strategy.experimental_distribute_dataset(batches),
                _number_of_batches(examples, settings.eval_batch_size),
            )
    return result


def _seed(settings):
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()


def _strategy(settings):
    return strategy_lib.create(
        settings.strategy, settings.num_devices, settings.virtual_cpus
    )


def _number_of_batches(examples, batch_size):
    return -(-len(examples.labels) // batch_size)


def _check_tensorboard():
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        rules.refuse("tensorboard", "needs `pip install tensorboard`", True)
