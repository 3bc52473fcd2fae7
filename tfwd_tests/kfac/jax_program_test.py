"""What `tfwd.kfac.backend.jax_backend` knows of JAX, by a private name.

Checked on JAX 0.10.2. When the name is gone or means something else, read JAX'
`_src/core.py` and `_src/interpreters/partial_eval.py` first.

Covers `jax_backend`.
"""

import functools

import jax
import jax.numpy as jnp
import pytest

from tfwd.kfac.backend import jax_backend

X = jnp.ones(3)
WITHIN = {
    "grad": lambda f: jax.grad(f)(X),
    "vmap": lambda f: jax.vmap(f)(X[None]),
    "per-example grad": lambda f: jax.vmap(jax.grad(f))(X[None]),
    "jvp": lambda f: jax.jvp(f, (X,), (X,)),
    "vjp": lambda f: jax.vjp(f, X),
    "linearize": lambda f: jax.linearize(f, X),
}
ANOTHER = {
    "jit": lambda f: jax.jit(f)(X),
    "checkpoint": lambda f: jax.checkpoint(f)(X),
    "scan": lambda f: jax.lax.scan(lambda c, x: (c, f(x)), 0.0, X[None]),
    "cond": lambda f: jax.lax.cond(X[0] > 0, f, lambda x: 0.0, X),
    "grad of jit": lambda f: jax.grad(jax.jit(f))(X),
}


def programs(transform):
    """Returns what is traced outside and inside of a transformation."""
    found = []

    def inside(x):
        found.append(jax_backend.program())
        return jnp.sum(x**2)

    outside = jax_backend.program()
    transform(inside)
    return outside, found


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("name", [*WITHIN, *ANOTHER])
def test_what_compiles_by_itself_is_another_program(name, is_compiled):
    seen = []

    def run(transform):
        outside, found = programs(transform)
        seen.extend(each is outside for each in found)
        return X

    transform = (WITHIN | ANOTHER)[name]
    if is_compiled:
        jax.jit(functools.partial(run, transform))()
    else:
        assert jax_backend.program() is None
        run(transform)
    assert seen
    assert set(seen) == {name in WITHIN}


def test_a_trace_of_before_is_not_in_force_inside():
    calls = []

    @jax.jit
    def function(x):
        calls.append(x)
        return 2 * x

    for _ in range(2):
        function(X)
    assert len(calls) == 1
    for _ in range(2):
        with jax_backend.tracing(7):
            function(X)
    assert len(calls) == 2
