"""What a model must take and give to be trained or evaluated on a data set."""

import keras

from tfwd.training.config import reasons
from tfwd.training.config import rules

# Of the batch that a model is tried on; in no model are these sizes fixed.
_EXAMPLES, _WORDS = 3, 5


def check(flag, verb, value, model, source, is_text=False):
    """Checks a model's inputs and outputs, and that it runs.

    Args:
        flag: Name of the flag that the model is of.
        verb: What the flag's value does with a model: "hold" or "make".
        value: That value.
        model: The model, functional or sequential.
        source: The data set.
        is_text: Whether that is a text.

    Raises:
        UsageError: It does not fit the data, or does not give one array.
    """
    _check_shapes(flag, value, model, source, is_text)
    _check_call(flag, verb, value, model, is_text)


def _check_shapes(flag, value, model, source, is_text):
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
            flag,
            f"must take inputs {shape} and give logits {logits}"
            f"{', then states' if is_text else ''} for --dataset="
            f"{source.name}; "
            f"this model takes {_listed(taken)} and gives {_listed(given)}",
            value,
        )


def _check_call(flag, verb, value, model, is_text):
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
        rules.refuse(
            flag,
            f"must {verb} a model that runs on any batch ({reasons.of(error)})",
            value,
        )
    logits = called[0] if len(model.outputs) > 1 else called
    kind = type(logits).__name__
    if keras.ops.is_tensor(logits):
        kind = f"{logits.dtype.name} {tuple(logits.shape)}"
        if logits.shape[0] == _EXAMPLES and logits.dtype.is_floating:
            return
    rules.refuse(
        flag,
        f"must {verb} a model that gives one array of logits, a float row for "
        f"each example; of {_EXAMPLES} examples this model makes {kind}",
        value,
    )


def _listed(shapes):
    return ", ".join(map(str, shapes))
