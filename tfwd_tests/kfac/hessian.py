"""The Hessian of a loss by the backend's own second derivatives."""

import keras
import numpy as np


def of_loss(model, layer, loss, x, y):
    """Returns the Hessian of loss(y, model(x)) in a layer's variables.

    Rows and columns are the flattened variables, one after another, which is
    the flattened matrix [in (+ 1), out] of a Dense layer.
    """
    variables = layer.trainable_variables
    if keras.backend.backend() == "tensorflow":
        rows = _on_tensorflow(model, variables, loss, x, y)
    else:
        rows = _on_jax(model, variables, loss, x, y)
    size = sum(int(np.prod(v.shape)) for v in variables)
    return np.concatenate(
        [
            np.concatenate(
                [
                    np.asarray(part).reshape(
                        (int(np.prod(v.shape)), int(np.prod(w.shape)))
                    )
                    for w, part in zip(variables, row, strict=True)
                ],
                axis=1,
            )
            for v, row in zip(variables, rows, strict=True)
        ]
    ).reshape((size, size))


def _on_tensorflow(model, variables, loss, x, y):
    import tensorflow as tf

    values = [v.value for v in variables]
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            value = loss(y, model(x))
        gradients = inner.gradient(value, values)
    # By pfor a retracing for every model would be reported as a warning.
    return [
        outer.jacobian(
            gradient,
            values,
            unconnected_gradients="zero",
            experimental_use_pfor=False,
        )
        for gradient in gradients
    ]


def _on_jax(model, variables, loss, x, y):
    import jax

    places = [
        next(i for i, w in enumerate(model.trainable_variables) if w is v)
        for v in variables
    ]
    rest = [v.value for v in model.non_trainable_variables]
    every = [v.value for v in model.trainable_variables]

    def value(values):
        present = list(every)
        for place, one in zip(places, values, strict=True):
            present[place] = one
        return loss(y, model.stateless_call(present, rest, x)[0])

    return jax.jit(jax.hessian(value))([v.value for v in variables])
