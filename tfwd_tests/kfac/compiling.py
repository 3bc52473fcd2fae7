"""The library's module for the backend in use, and ways to run a function."""

import keras

BACKEND = keras.backend.backend()

if BACKEND == "jax":
    import jax
else:
    import tensorflow as tf

WAYS = ("eager", "jit") if BACKEND == "jax" else ("eager", "graph", "xla")


def run(way, function, *tensors):
    """Calls a function of tensors as one of `WAYS` says."""
    if way == "eager":
        return function(*tensors)
    if way == "jit":
        return jax.jit(function)(*tensors)
    return tf.function(function, jit_compile=way == "xla")(*tensors)


def pulled_back(function, z, vectors):
    """Returns Jᵀv for each v, with J the Jacobian of a function at z."""
    if BACKEND == "jax":
        _, backward = jax.vjp(function, z)
        return [backward(vector)[0] for vector in vectors]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        value = function(z)
    return [
        tape.gradient(value, z, output_gradients=vector) for vector in vectors
    ]
