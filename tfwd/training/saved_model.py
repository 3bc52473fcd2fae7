"""A model from a file, to be evaluated or looked at."""

import pathlib
import re
import textwrap
import warnings
import zipfile

import keras

from tfwd.training import build
from tfwd.training import choices
from tfwd.training import inputs
from tfwd.training import limits
from tfwd.training import rules
from tfwd.training import strategy as strategy_lib

_LONGEST_REASON = 200
# Of the batch that a model is tried on; in no model are these sizes fixed.
_EXAMPLES, _WORDS = 3, 5


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
    return loop, splits, choices.task(settings.model)


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
    path = _existing(settings.model_file)
    source = inputs.load(settings)
    is_text = choices.task(settings.model) == "language_model"
    # A file that is refused has one line and no warnings.
    with strategy.scope(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = _model(path, with_optimizer)
        _check_shapes(path, model, source, settings.dataset, is_text)
        _check_call(path, model, is_text)
        if with_optimizer and not is_text:
            _check_loss(path, model)
    for each in caught:
        warnings.warn(each.message, each.category, stacklevel=2)
    return source, model


def _existing(text):
    rule = "must be an existing .keras file"
    try:
        path = pathlib.Path(text).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError) as error:
        _refuse(text, rule, error)
    rules.refuse("model_file", rule, path)


def _model(path, with_optimizer):
    try:
        with zipfile.ZipFile(path) as archive:
            # Of weights whose checksum is wrong Keras reads what is there.
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        model = keras.saving.load_model(path, compile=with_optimizer)
    # The file says what Keras builds: whatever fails there, the file is wrong.
    except Exception as error:
        _refuse(path, "must be a saved Keras model", error)
    is_built = isinstance(model, keras.Model) and model.built
    if not is_built or not getattr(model, "inputs", None):
        rules.refuse(
            "model_file",
            "must hold a functional or sequential model that was built before "
            f"it was saved; this is a {type(model).__name__}",
            path,
        )
    return model


def _check_shapes(path, model, source, dataset, is_text):
    taken = [tuple(each.shape[1:]) for each in model.inputs]
    given = [tuple(each.shape[1:]) for each in model.outputs]
    shape, states = tuple(source.input_shape), []
    logits = (source.num_classes,)
    if is_text:
        # For each word; after them what is carried from segment to segment.
        logits = (*shape, *logits)
        states = [each for each in taken[1:] if len(each) == 1]
    if (taken, given) != ([shape, *states], [logits, *states]):
        rules.refuse(
            "model_file",
            f"must take inputs {shape} and give logits {logits}"
            f"{', then states' if is_text else ''} for --dataset={dataset}; "
            f"this model takes {_listed(taken)} and gives {_listed(given)}",
            path,
        )


def _check_call(path, model, is_text):
    """Calls the model on a batch of zeros."""
    arrays = [
        keras.ops.zeros(
            (_EXAMPLES, *(size or _WORDS for size in each.shape[1:])),
            "int32" if is_text and number == 0 else "float32",
        )
        for number, each in enumerate(model.inputs)
    ]
    try:
        called = model(arrays if len(arrays) > 1 else arrays[0], training=False)
    # Whatever fails in a layer would fail in the evaluation.
    except Exception as error:
        _refuse(path, "must hold a model that runs on any batch", error)
    logits = called[0] if len(model.outputs) > 1 else called
    kind = type(logits).__name__
    if keras.ops.is_tensor(logits):
        kind = f"{logits.dtype.name} {tuple(logits.shape)}"
        if logits.shape[0] == _EXAMPLES and logits.dtype.is_floating:
            return
    rules.refuse(
        "model_file",
        "must hold a model that gives one array of logits, a float row for "
        f"each example; of {_EXAMPLES} examples this model makes {kind}",
        path,
    )


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


def _listed(shapes):
    return ", ".join(map(str, shapes))


def _refuse(path, rule, error):
    """Refuses the file, with an error of Keras' in brackets."""
    # TensorFlow makes parts bold, and names in the file may hold anything.
    text = re.sub(r"\x1b\[[\d;]*m|\{\{.*?\}\}", "", str(error))
    text = "".join(each if each.isprintable() else " " for each in text)
    reason = textwrap.shorten(
        f"{type(error).__name__}: {text}", _LONGEST_REASON, placeholder=" ..."
    )
    rules.refuse("model_file", f"{rule} ({reason})", path)
