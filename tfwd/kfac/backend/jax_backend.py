"""What K-FAC needs of JAX itself, `tensorflow_backend`'s twin.

The functions are those of the twin, which documents them. JAX' own sharding
(`keras.distribution.DataParallel`) needs no replicas: arrays are global.
"""

import contextlib

import jax
import jax.numpy as jnp
import keras
from jax.experimental import sparse
from jax.extend import core as jax_core

from tfwd.kfac import capture

# What JAX says of a forward derivative of a rule of backpropagation.
NO_FORWARD_MODE = ("(jvp) to a custom_vjp function", "'custom_lin'")
# A trace that ends is used again, and calls no callback then.
KEEPS_TRACES = True
_traces = jax.make_user_context()


def output_gradients(run, vectors_at):
    """Backpropagates vectors from a model's output to all pre-activations."""
    shapes, is_outside = [], []

    def record_shapes():
        outside = _transformation()

        def record(z):
            is_outside.append(_transformation() == outside)
            shapes.append(jax.ShapeDtypeStruct(z.shape, z.dtype))
            return z

        return run(record)[0]

    jax.eval_shape(record_shapes)
    # What is recorded of a call inside would outlive its tracers.
    if not all(is_outside):
        raise ValueError(
            "KFAC on JAX needs a model that calls its layers outside of "
            "jax.grad, jax.vmap, jax.jit and the like; the loss may "
            "differentiate the network. Received: a layer called inside one"
        )
    zeros = [jnp.zeros(shape.shape, shape.dtype) for shape in shapes]

    def shifted(probes):
        remaining = iter(probes)
        return run(lambda z: z + next(remaining))

    output, backward, rest = jax.vjp(shifted, zeros, has_aux=True)
    gradients = [backward(vector)[0] for vector in vectors_at(output, rest)]
    return rest, list(zip(*gradients, strict=True))


def _transformation():
    return jax_core.get_opaque_trace_state(convention="flax")


def program():
    """Returns what the innermost jax.jit that is traced has, or None."""
    # Of jax.jit, jax.checkpoint and jax.lax alone: jax.grad and jax.vmap
    # leave a constant as it is.
    return getattr(jnp.zeros(()), "_trace", None)


def tracing(key):
    """Returns a context in which functions are traced that were traced before.

    Args:
        key: Key of the traces that are made inside, which are cached.
    """
    return _traces(key)


def is_passed_on(variable, program):
    """Returns False: `tracing` leaves no trace of before in force."""
    return False


def linearized(function, x):
    """Returns function(x), and what `pulled_back` needs, a pytree."""
    return jax.vjp(function, x)


def pulled_back(pull, gradient):
    """Returns the gradient at x, given that at function(x)."""
    (at_x,) = pull(gradient)
    return at_x


def with_rule(forward, gradients):
    """Returns a function with a rule of backpropagation of its own."""

    @jax.custom_vjp
    def function(*arguments):
        return forward(*arguments)[0]

    function.defvjp(forward, gradients)
    return function


def undifferentiable(x, message):
    """Returns x, through which no derivative passes."""

    def refuse(kept, gradient):
        raise ValueError(message)

    return with_rule(lambda x: (x, None), refuse)(x)


def gradient_of(function, x):
    """Returns the gradient of a scalar function at x."""
    return jax.grad(function)(x)


def cholesky_inverse(matrix):
    """Returns the inverse of [..., n, n]; NaN if not positive definite."""
    root = jnp.linalg.cholesky(matrix)
    identity = jnp.broadcast_to(
        jnp.eye(matrix.shape[-1], dtype=matrix.dtype), matrix.shape
    )
    return jax.scipy.linalg.cho_solve((root, True), identity)


def eigenvalues_and_vectors(matrix):
    """Returns the eigenvalues [..., n], ascending, and vectors [..., n, n]."""
    return tuple(jnp.linalg.eigh(matrix))


def widest_float():
    """Returns float64 where JAX has it switched on."""
    return "float64" if jax.config.jax_enable_x64 else "float32"


def condition(predicate, if_true, if_false):
    """Returns one of two results and computes no more than that one."""
    return jax.lax.cond(predicate, if_true, if_false)


def current_values(variables):
    """Returns what a `StatelessScope` inside this one must be told."""
    return [(variable, variable.value) for variable in variables]


def num_replicas():
    """Returns 1: arrays are global."""
    return 1


def num_workers(model):
    """Returns 1: arrays are global."""
    return 1


def sum_over_replicas(tensors):
    """Returns the tensors, which are global already."""
    return tensors


def first_example(size):
    """Returns 0: a batch is global."""
    return 0


def computed_by(owner, compute, like):
    """Returns `compute()`."""
    return compute()


def full_precision():
    """No TensorFloat-32 or bfloat16 in products traced inside."""
    return jax.default_matmul_precision("highest")


def is_dense(tensor):
    """Returns whether an array is not sparse."""
    return not isinstance(tensor, sparse.JAXSparse)


def strategy_in_force():
    """Returns None: arrays know their sharding."""


def scope_of(strategy):
    """Returns a context that does nothing."""
    return contextlib.nullcontext()


def compiled(program, variables, strategy):
    """Returns a program, a function that assigns to variables, compiled.

    Where the caller is being traced, inside a `StatelessScope`, the program is
    called as it is.

    Args:
        program: A function of nested arrays.
        variables: A function that returns all variables that the program
            reads, of which it may assign to some.
        strategy: Not used on this backend.
    """

    def pure(values, *arguments):
        mapping = list(zip(variables(), values, strict=True))
        with keras.StatelessScope(mapping) as scope:
            program(*arguments)
        return [scope.get_current_value(v) for v, _ in mapping]

    run = jax.jit(pure)

    def call(*arguments):
        if capture.in_stateless_scope():
            with full_precision():
                program(*arguments)
            return
        before = [variable.value for variable in variables()]
        with full_precision():
            after = run(before, *arguments)
        for variable, old, new in zip(variables(), before, after, strict=True):
            if new is not old:
                variable.assign(new)

    return call


def value_while_tracing(variable):
    """Returns a scalar variable's value, or None where it cannot be known."""
    value = variable.value
    return None if isinstance(value, jax.core.Tracer) else int(value)
