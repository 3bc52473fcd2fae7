"""What the diagnostics need of JAX, `tensorflow_backend`'s twin.

The functions are those of the twin, which documents them. Arrays are global,
so there are no replicas.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np

from tfwd.kfac.backend import jax_backend


def squared_pullbacks(function, inputs, cotangents_at):
    """Returns Σ_k ‖v_kᵀ ∂f/∂x‖² of each example, [batch]."""
    values, backward = jax.vjp(function, inputs)
    cotangents = cotangents_at(values)

    def add(k, total):
        vectors = jnp.broadcast_to(cotangents[:, k], values.shape)
        (gradient,) = backward(vectors.astype(values.dtype))
        axes = tuple(range(1, gradient.ndim))
        squares = jnp.sum(jnp.square(gradient), axes)
        return total + squares.astype(total.dtype)

    total = jnp.zeros(values.shape[:1], values.dtype)
    return jax.lax.fori_loop(0, cotangents.shape[1], add, total)


def derivative(function, dtype):
    """Returns f(1) and f′(1) of a function of a scalar."""
    one = jnp.ones((), dtype)
    return jax.jvp(function, (one,), (one,))


def strategy_of(model):
    """Returns None: arrays are global."""
    del model


def shared_out(batch, strategy):
    """Returns a batch as the program of `compiled` takes it."""
    del strategy
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else jnp.asarray(np.asarray(leaf)),
        batch,
    )


def compiled(function, variables, strategy):
    """Returns a function, compiled, that sees the variables as they are."""
    del strategy

    # As arguments: as constants they would be those of the first call.
    @jax.jit
    def program(values, *arguments):
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return function(*arguments)

    def call(*arguments):
        with jax_backend.full_precision():
            return program([v.value for v in variables], *arguments)

    return call
