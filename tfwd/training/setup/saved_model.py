"""A model from a file, to be evaluated or looked at."""

import keras

from tfwd.training.config import choices
from tfwd.training.config import rules
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.setup import build
from tfwd.training.setup import inputs
from tfwd.training.setup import keras_file
from tfwd.training.setup import limits
from tfwd.training.setup import model_form
from tfwd.training.setup import model_function


def load(settings):
    """Loads the model and the data of --mode=eval.

    Args:
        settings: `Settings` of mode "eval".

    Returns:
        (`Loop`, {split name: `inputs.Evaluation`}, task of the model).

    Raises:
        ValueError: No model in the file, or one for other data.
    """
    strategy = strategy_lib.create(settings.distribution)
    source, model = read(settings, strategy)
    limits.check_batches(settings, model, strategy_lib.num_workers(strategy))
    loop = build.make_loop(settings, strategy, source, model)
    splits = inputs.evaluation_splits(settings, source, strategy)
    return loop, splits, choices.task(settings.model.model)


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
    path = keras_file.existing("model_file", settings.run.model_file)
    model_function.register(settings.model.model)
    source = inputs.load(settings.data)
    is_text = choices.task(settings.model.model) == "language_model"
    with strategy.scope(), keras_file.warnings_later():
        model = keras_file.model_of("model_file", path, with_optimizer)
        model_form.check("model_file", "hold", path, model, source, is_text)
        if with_optimizer and not is_text:
            _check_loss(path, model)
    return source, model


def _check_loss(path, model):
    if not model.compiled:
        return
    loss = model.loss
    try:
        loss = keras.losses.get(loss)
    except (TypeError, ValueError):
        pass
    kind = keras.losses.SparseCategoricalCrossentropy
    if not isinstance(loss, kind) and (
        loss is not keras.losses.sparse_categorical_crossentropy
    ):
        rules.refuse(
            "model_file",
            "must be compiled with a sparse categorical cross-entropy, which "
            "takes numbers of classes, or not at all; this model has "
            f"{getattr(loss, 'name', getattr(loss, '__name__', loss))}",
            path,
        )
