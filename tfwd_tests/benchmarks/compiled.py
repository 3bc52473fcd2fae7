"""One update of some variables, compiled as each backend compiles it."""

import keras

BACKEND = keras.backend.backend()
# How the bare update can be compiled there.
WAYS = {"tensorflow": ("graph", "xla"), "jax": ("xla",)}.get(
    BACKEND, ("eager",)
)


def function(call, way="xla"):
    """Returns a function of tensors, compiled in one of `WAYS`."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(call, jit_compile=way == "xla")
    if BACKEND == "jax":
        import jax

        return jax.jit(call)
    return call


def update(optimizer, variables, gradients, way):
    """Returns a function that updates the variables once, and waits."""
    optimizer.build(variables)
    if BACKEND == "jax":
        return _jax_update(optimizer, variables, gradients)
    call = function(lambda given: optimizer.apply(given, variables), way)

    def run():
        call(gradients)
        int(keras.ops.convert_to_numpy(optimizer.iterations))

    return run


def bytes_per_parameter(optimizer, variables, gradients):
    """Returns the bytes that XLA says an update touches, on JAX; else None.

    Per parameter; the machine's noise does not enter.
    """
    if BACKEND != "jax":
        return None
    optimizer.build(variables)
    lowered = _jitted(optimizer).lower(*_state(optimizer, variables), gradients)
    cost = lowered.compile().cost_analysis()
    return cost["bytes accessed"] / sum(g.size for g in gradients)


def _jax_update(optimizer, variables, gradients):
    import jax

    jitted = _jitted(optimizer)
    # Copies: the update takes its arguments over.
    state = [
        [keras.ops.copy(value) for value in values]
        for values in _state(optimizer, variables)
    ]

    def run():
        state[:] = jitted(*state, gradients)
        jax.block_until_ready(state)

    return run


def _jitted(optimizer):
    import jax

    return jax.jit(
        lambda values, own, gradients: optimizer.stateless_apply(
            own, gradients, values
        ),
        donate_argnums=(0, 1),
    )


def _state(optimizer, variables):
    return [
        [v.value for v in each] for each in (variables, optimizer.variables)
    ]
