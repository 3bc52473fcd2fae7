"""A model of the user's own: `--model=package.module:function`."""

import importlib

import keras

from tfwd.training.config import choices
from tfwd.training.config import reasons
from tfwd.training.config import rules
from tfwd.training.setup import model_form


def find(text):
    """Imports the module and returns the function.

    What the module registers with Keras is known from then on.

    Args:
        text: package.module:function, found as Python finds modules.

    Raises:
        UsageError: The module cannot be imported, or has no such function.
    """
    module, _, name = text.partition(":")
    try:
        found = importlib.import_module(module)
    # A program that was meant to be run may leave.
    except (Exception, SystemExit) as error:
        rules.refuse(
            "model",
            f"must name a module that can be imported ({reasons.of(error)})",
            text,
        )
    function = getattr(found, name, None)
    if not callable(function):
        rules.refuse("model", f"must name a function of {module}", text)
    return function


def register(model):
    """Imports the module of a `--model`, if it is one of the user's."""
    if choices.is_function(model):
        find(model)


def build(text, source):
    """Calls the function with `input_shape` and `num_classes`.

    Args:
        text: As in `find`.
        source: The data set.

    Returns:
        The built model.

    Raises:
        UsageError: The function fails, or what it makes is no model from the
            data's inputs to logits.
    """
    function = find(text)
    shape, classes = tuple(source.input_shape), source.num_classes
    try:
        model = function(input_shape=shape, num_classes=classes)
        if isinstance(model, keras.Sequential) and not model.built:
            model.build((None, *shape))
    # Whatever it does is the user's.
    except (Exception, SystemExit) as error:
        rules.refuse(
            "model",
            f"must be a function that runs with input_shape={shape} and "
            f"num_classes={classes} ({reasons.of(error)})",
            text,
        )
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        rules.refuse(
            "model",
            "must make a functional or sequential model; this is a "
            f"{type(model).__name__}",
            text,
        )
    model_form.check("model", "make", text, model, source)
    _check_logits(text, model)
    return model


def _check_logits(text, model):
    """Refuses a last layer that makes probabilities of the logits."""
    last = model
    while getattr(last, "outputs", None):
        last = last.outputs[0]._keras_history.operation
    activations = keras.activations
    if isinstance(last, keras.layers.Softmax) or getattr(
        last, "activation", None
    ) in (activations.softmax, activations.sigmoid):
        rules.refuse(
            "model",
            "must make a model that gives logits; its last layer, "
            f"{last.name}, makes probabilities of them",
            text,
        )
