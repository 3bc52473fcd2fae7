"""Curvature of one layer as a dense matrix, by the backend's own derivatives.

`matrix` is the mean over examples and predictions of Jᵀ H J, where J is the
Jacobian of one prediction's outputs z [K] with respect to the layer's variables
and H is

| curvature      | H                                                   |
|----------------|-----------------------------------------------------|
| `gauss_newton` | I                                                   |
| `fisher`       | Hessian of the prediction's loss with respect to z  |
| `empirical`    | ∇ℓ ∇ℓᵀ of the prediction's loss at its true target  |

The order of rows and columns is that of the flattened matrix [in (+ 1), out]
of the layer: each variable reshaped to (-1, its last axis), one under another.
So it compares with `numpy.kron(A, G)`.
"""

import contextlib
from unittest import mock

import keras
import numpy as np
from keras import ops
from keras.src.backend.common import dtypes

from tfwd_tests.optimizers import harness

BACKEND = keras.backend.backend()


@contextlib.contextmanager
def float64():
    """Keras in float64, layers and operations.

    The policy of layers is kept from the first layer of the process on,
    whatever `floatx` becomes. And on JAX Keras 3.15 rounds what `ops.mean`,
    `ops.tanh` and others return to float32, whether JAX has float64 or not.
    """
    kept = {"float64": "float64"}
    before = keras.config.dtype_policy()
    with harness.float64():
        keras.config.set_dtype_policy("float64")
        try:
            with mock.patch.dict(dtypes.BIT64_TO_BIT32_DTYPE, kept):
                yield
        finally:
            keras.config.set_dtype_policy(before)


@float64()
def matrix(
    model, layer, inputs, curvature, loss=None, targets=None, training=False
):
    """Returns the matrix [n·m, n·m], float64.

    Args:
        model: A Keras model, best of float64, whose outputs [B, (positions,)
            K] are what the loss takes.
        layer: One of its layers, with trainable variables.
        inputs: The model's inputs.
        curvature: "gauss_newton", "fisher" or "empirical".
        loss: A Keras loss instance; not for "gauss_newton".
        targets: The loss's targets; any will do for the "fisher" of logits.
        training: Whether the model is called in training mode.
    """
    jacobian = output_jacobian(model, layer, inputs, training)
    size = jacobian.shape[1]
    if curvature == "gauss_newton":
        hessians = np.tile(np.eye(size), (len(jacobian), 1, 1))
    else:
        outputs = ops.convert_to_tensor(model(inputs, training=training))
        first, second = loss_derivatives(loss, targets, outputs)
        if curvature == "fisher":
            hessians = second
        else:
            hessians = first[:, :, None] * first[:, None, :]
    weighted = hessians @ jacobian
    width = jacobian.shape[2]
    return (jacobian.reshape(-1, width).T @ weighted.reshape(-1, width)) / len(
        jacobian
    )


@float64()
def output_jacobian(model, layer, inputs, training=False):
    """Returns ∂z [predictions of all examples, K, parameters of the layer]."""
    variables = layer.trainable_variables
    parts = _jacobians(model, variables, inputs, training)
    flat = []
    for variable, part in zip(variables, parts, strict=True):
        part = np.asarray(part, dtype="float64")
        outputs = part.shape[: part.ndim - len(variable.shape)]
        flat.append(
            part.reshape((-1, outputs[-1], int(np.prod(variable.shape))))
        )
    return np.concatenate(flat, axis=2)


@float64()
def loss_derivatives(loss, targets, outputs):
    """Returns ∇ℓ [predictions, K] and ∇²ℓ [predictions, K, K]."""
    size = outputs.shape[-1]
    z = ops.reshape(outputs, (-1, size))
    count = z.shape[0]
    y = np.asarray(targets)
    labels = y.size == count and size > 1
    y = ops.convert_to_tensor(y.reshape((count,) if labels else (count, size)))

    def losses(z):
        return loss.call(y, z)

    first, second = _derivatives(losses, z)
    return (
        np.asarray(first, dtype="float64"),
        np.asarray(second, dtype="float64"),
    )


def _jacobians(model, variables, inputs, training):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            outputs = tf.convert_to_tensor(model(inputs, training=training))
        return tape.jacobian(
            outputs, [v.value for v in variables], unconnected_gradients="zero"
        )
    import jax

    places = [
        next(i for i, w in enumerate(model.trainable_variables) if w is v)
        for v in variables
    ]
    rest = [v.value for v in model.non_trainable_variables]

    def call(values):
        every = [v.value for v in model.trainable_variables]
        for place, value in zip(places, values, strict=True):
            every[place] = value
        return model.stateless_call(every, rest, inputs, training=training)[0]

    return jax.jacrev(call)([v.value for v in variables])


def _derivatives(losses, z):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as outer:
            outer.watch(z)
            with tf.GradientTape() as inner:
                inner.watch(z)
                values = losses(z)
            first = inner.gradient(values, z)
        return first, outer.batch_jacobian(first, z)
    import jax

    def total(z):
        return losses(z).sum()

    first = jax.grad(total)(z)
    # Examples do not meet, so the diagonal of the full Jacobian is all.
    full = jax.jacrev(jax.grad(total))(z)
    index = np.arange(len(z))
    return first, np.asarray(full)[index, :, index, :]
