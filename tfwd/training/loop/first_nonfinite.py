"""Finds what became NaN or infinite first."""

import keras
import tensorflow as tf

from tfwd.models import dropout
from tfwd.optimizers import wrappers
from tfwd.training.loop import activations


def first_tensor(step, batch, replica=0):
    """Names the first tensor of a training step that is not finite.

    In the order in which a step computes them: trainable variables, inputs,
    the outputs of the layers, the loss, the gradients, in mode "l2" with their
    penalty. The model stays as it is.

    Args:
        step: A `step.Step` with the weights before the step in question.
        batch: The `Batch` of one replica.
        replica: Its number among those of this process.

    Returns:
        A name such as "gradient of conv1/kernel", or None.
    """
    for name, tensor in _tensors(step, batch, replica):
        if tensor is not None and not _is_finite(tensor):
            return name
    return None


def _tensors(step, batch, replica):
    model = step.model
    states = (
        step.recurrent_state.of_replica(replica)
        if step.recurrent_state
        else None
    )
    for variable in model.trainable_variables:
        yield f"variable {variable.path}", variable.value
    batch = step.finish(batch, True)
    yield "inputs", batch.inputs
    names, tensors = zip(*activations.named(model), strict=True)
    outputs = keras.Model(model.inputs, list(tensors))
    with keras.StatelessScope(), dropout.keyed(batch.keys):
        values = outputs(step.inputs(batch, states), training=True)
    for name, value in zip(names, values, strict=True):
        yield f"output of {name}", value
    with keras.StatelessScope(), dropout.keyed(batch.keys):
        with tf.GradientTape() as tape:
            loss = step.forward(batch, states=states).loss
        gradients = tape.gradient(
            loss, [v.value for v in model.trainable_variables]
        )
    yield "loss", loss
    for variable, gradient in zip(
        model.trainable_variables, gradients, strict=True
    ):
        yield f"gradient of {variable.path}", gradient
    if step.optimizer is not None:
        yield from _penalized(
            step.optimizer, model.trainable_variables, gradients
        )


def _penalized(optimizer, variables, gradients):
    """Yields the sums of g + λθ, at which a step in mode "l2" looks."""
    optimizer = wrappers.unwrapped(optimizer)
    if optimizer.weight_decay_mode != "l2":
        return
    coefficient = optimizer.scheduled_weight_decay(
        optimizer.last_schedule_step()
    )
    for variable, gradient, factor in zip(
        variables, gradients, optimizer.weight_decay_factors, strict=True
    ):
        if gradient is not None and factor:
            penalty = coefficient * factor * tf.cast(variable, "float32")
            yield (
                f"gradient of {variable.path} with its L2 penalty",
                tf.reduce_sum(tf.cast(gradient, "float32") + penalty),
            )


def _is_finite(tensor):
    tensor = tf.convert_to_tensor(tensor)
    if not tensor.dtype.is_floating:
        return True
    return bool(tf.reduce_all(tf.math.is_finite(tensor)))
