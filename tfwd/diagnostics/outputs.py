"""A model's outputs z in inference mode: what all derivatives here are of.

z are the logits, or the means of a squared loss, [batch, ..., outputs], whether
the model returns them or their probabilities. The model runs under a
`StatelessScope`: nothing of it changes.
"""

import dataclasses
import math

import keras
from keras import ops

from tfwd import arguments
from tfwd.diagnostics.backend import derivatives
from tfwd.kfac import capture
from tfwd.kfac import likelihoods
from tfwd.kfac import recording


def likelihood_of(model, loss=None):
    """Returns the `tfwd.kfac.likelihoods.Likelihood` of a model's loss.

    Args:
        model: A Keras model.
        loss: A Keras loss, or None for the compiled one. It tells what the
            outputs are: logits, probabilities or means.

    Raises:
        ValueError: If there is no loss, or none of the cross-entropies and the
            mean squared error.
    """
    if derivatives.current is None:
        raise ValueError(
            "The derivatives of a model need the backend tensorflow or jax. "
            f"Received: {keras.backend.backend()}"
        )
    arguments.check_model("model", model)
    if loss is None:
        loss = capture.compiled_loss(model)
    if loss is None:
        raise ValueError(
            "`loss` must be given for a model that is not compiled. "
            "Received: loss=None"
        )
    try:
        return likelihoods.of_loss(loss)
    except (TypeError, ValueError):
        raise ValueError(
            "`loss` must be one categorical, sparse categorical or binary "
            "cross-entropy, with axis=-1 and no ignore_class, or the mean "
            f"squared error. Received: loss={arguments.shown(loss)}"
        ) from None


def logits(model, inputs, likelihood, replaced=()):
    """Returns z, [batch, ..., outputs], in float64 or else float32.

    Args:
        model: A built Keras model.
        inputs: Its inputs.
        likelihood: What `likelihood_of` returned.
        replaced: Pairs of a variable and the value to run the model with.

    Raises:
        ValueError: If the model has several outputs, or gives probabilities
            without its last layer's own activation.
    """
    found = []

    def record(layer, linear, activation, inputs):
        del layer
        z = linear(inputs)
        output = activation(z)
        found.append((output, z, activation))
        return output

    hooked = [] if likelihood.from_logits else _activated(model, likelihood)
    # Of this call alone: replicas are threads, and each has its own.
    owner = object()
    for layer in hooked:
        capture.install(layer, owner)
    try:
        with capture.calling_back(record):
            output = raw(model, inputs, replaced)
    finally:
        for layer in hooked:
            capture.remove(layer, owner)
    if not likelihood.from_logits:
        z = recording.pre_activation(output, found, likelihood.distribution)
        if z is None:
            raise ValueError(
                "A model that gives probabilities must end in a layer whose "
                f"own activation is {likelihood.distribution}. "
                f"Received: {model.name}, which does not"
            )
        output = z
    return _widened(output)


def raw(model, inputs, replaced=()):
    """Returns what the model itself returns, one tensor.

    Raises:
        ValueError: If the model has several outputs.
    """
    mapping = derivatives.kfac.current_values(model.variables)
    with keras.StatelessScope([*mapping, *replaced]):
        output = capture.call(model, inputs, False)
    leaves = keras.tree.flatten(output)
    if len(leaves) != 1:
        raise ValueError(
            "`model` must have one output. "
            f"Received: {model.name}, with {len(leaves)}"
        )
    return leaves[0]


def probabilities(z, likelihood):
    """Returns softmax or sigmoid of z.

    Raises:
        ValueError: If the likelihood has no probabilities.
    """
    if likelihood.distribution == "gaussian":
        raise ValueError(
            "Probabilities need a cross-entropy as the loss. "
            f"Received: loss={likelihood.loss.name}"
        )
    return dataclasses.replace(likelihood, from_logits=True).probabilities(z)


def undefined_where_not_finite(values, *tensors):
    """Returns values of the examples, NaN where a tensor is not finite.

    The derivative of a ReLU at NaN is 0, which would make a plausible number
    of it.

    Args:
        values: [batch, ...].
        tensors: Of the same examples, [batch, ...].
    """
    is_finite = ops.ones(ops.shape(values)[:1], dtype="bool")
    for tensor in tensors:
        axes = tuple(range(1, len(tensor.shape)))
        each = ops.all(ops.isfinite(tensor), axis=axes)
        is_finite = ops.logical_and(is_finite, each)
    is_finite = ops.reshape(is_finite, (-1, *[1] * (len(values.shape) - 1)))
    return ops.where(is_finite, values, math.nan)


def with_predictions(z):
    """Returns [batch, ..., outputs] as [batch, predictions, outputs]."""
    size, *positions, outputs = ops.shape(z)
    return ops.reshape(z, (size, math.prod(positions), outputs))


def _activated(model, likelihood):
    activation = getattr(keras.activations, likelihood.distribution)
    return [
        layer
        for layer in capture.layers_of(model)
        if vars(layer).get("activation") is activation
    ]


def _widened(output):
    dtype = keras.backend.standardize_dtype(output.dtype)
    return output if dtype == "float64" else ops.cast(output, "float32")
