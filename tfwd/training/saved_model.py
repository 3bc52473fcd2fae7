"""A model from a file, to be evaluated."""

import pathlib

import keras

from tfwd import models
from tfwd.training import build
from tfwd.training import inputs
from tfwd.training import limits
from tfwd.training import rules
from tfwd.training import strategy as strategy_lib


def load(settings):
    """Loads the model and the data of --mode=eval.

    Args:
        settings: `Settings` of mode "eval".

    Returns:
        (`Loop`, {split name: `inputs.Evaluation`}, task of the model).

    Raises:
        ValueError: No model in the file, or one for other data.
    """
    strategy = strategy_lib.create(settings)
    source, model = read(settings, strategy)
    limits.check_batches(settings, model, strategy_lib.num_workers(strategy))
    loop = build.make_loop(settings, strategy, source, model)
    splits = inputs.evaluation_splits(settings, source, strategy)
    return loop, splits, models.task(settings.model)


def read(settings, strategy, with_optimizer=False):
    """Loads the data and the model that `settings.model_file` holds.

    Args:
        settings: `Settings` of mode "eval".
        strategy: In whose scope the model is made.
        with_optimizer: Whether it is compiled as it was when it was saved.

    Returns:
        (data set, model).

    Raises:
        ValueError: No model in the file, or one for other data.
    """
    path = pathlib.Path(settings.model_file).expanduser()
    if not path.is_file():
        rules.refuse("model_file", "must be an existing .keras file", path)
    source = inputs.load(settings)
    with strategy.scope():
        try:
            model = keras.saving.load_model(path, compile=with_optimizer)
        except (OSError, TypeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            rules.refuse(
                "model_file", f"must be a saved Keras model ({reason})", path
            )
    shapes = model.inputs[0].shape[1:], model.outputs[0].shape[-1]
    if shapes != (tuple(source.input_shape), source.num_classes):
        rules.refuse(
            "model_file",
            f"must take inputs {tuple(source.input_shape)} and give "
            f"{source.num_classes} logits for --dataset={settings.dataset}; "
            f"this model takes {shapes[0]} and gives {shapes[1]}",
            path,
        )
    return source, model
