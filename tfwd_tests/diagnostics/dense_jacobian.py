"""Jacobians of a whole model as dense arrays, by the backend's derivatives.

Outputs are [batch, outputs]; θ is every trainable variable, flattened, one
after another.
"""

import keras
import numpy as np

from tfwd_tests.kfac import models

BACKEND = keras.backend.backend()


def parameters(model):
    """Returns θ [parameters]."""
    return np.concatenate([w.ravel() for w in values(model)])


def values(model):
    return [
        keras.ops.convert_to_numpy(v.value) for v in model.trainable_variables
    ]


def outputs(model, x, training=False):
    """Returns f [batch, outputs]."""
    return keras.ops.convert_to_numpy(model(x, training=training))


def of_parameters(model, x, training=False):
    """Returns J_θ [batch, outputs, parameters]."""
    parts = models.jacobians(model, x, training)
    return np.concatenate(
        [
            parts[id(v)].reshape((*parts[id(v)].shape[:2], -1))
            for v in model.trainable_variables
        ],
        axis=-1,
    )


def of_inputs(model, x):
    """Returns J_x [batch, outputs, elements of x], in inference mode."""
    x = keras.ops.convert_to_tensor(x)
    # Examples do not meet: the sums' derivatives are those of each.
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            sums = tf.unstack(tf.reduce_sum(model(x, training=False), axis=0))
        rows = np.stack([tape.gradient(one, x) for one in sums])
    else:
        import jax

        trainable = [v.value for v in model.trainable_variables]
        rest = [v.value for v in model.non_trainable_variables]

        @jax.jit
        @jax.jacrev
        def jacobian(x):
            z, _ = model.stateless_call(trainable, rest, x, training=False)
            return z.sum(axis=0)

        rows = np.asarray(jacobian(x))
    return rows.reshape((*rows.shape[:2], -1)).swapaxes(0, 1)


def of_losses(model, loss, x, y):
    """Returns the gradient of each example's own loss [batch, parameters]."""
    y = keras.ops.convert_to_tensor(y)
    variables = [v.value for v in model.trainable_variables]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(persistent=True) as tape:
            losses = tf.unstack(loss.call(y, model(x, training=False)))
        rows = zip(
            *(tape.gradient(one, variables) for one in losses), strict=True
        )
        parts = [np.stack(row) for row in rows]
    else:
        import jax

        rest = [v.value for v in model.non_trainable_variables]

        @jax.jit
        @jax.jacrev
        def jacobian(variables):
            z, _ = model.stateless_call(variables, rest, x, training=False)
            return loss.call(y, z)

        parts = [np.asarray(part) for part in jacobian(variables)]
    return np.concatenate([p.reshape((len(p), -1)) for p in parts], axis=1)
