"""Losses that differentiate the network, or call it, as JAX can.

In `fit` the step is right; in a loop of one's own, where it holds
`preconditioned_backward`, right or refused in one line.
"""

import functools

import jax
import jax.numpy as jnp
import keras
import pytest

from tfwd_tests import marks
from tfwd_tests.kfac import penalties
from tfwd_tests.kfac import training


def total(model, x):
    return jnp.sum(model(x) ** 2)


def slope(model, x):
    return jax.grad(functools.partial(total, model))(x)


def gradient(model, x):
    return jnp.sum(slope(model, x) ** 2)


def stopped_gradient(model, x):
    return jnp.sum(jax.lax.stop_gradient(slope(model, x))[:, :1] * model(x))


def value_beside_its_slope(model, x):
    value, found = jax.value_and_grad(functools.partial(total, model))(x)
    return value * jax.lax.stop_gradient(jnp.sum(found))


def value_beside_its_pullback(model, x):
    value, pull = jax.vjp(model, x)
    (found,) = pull(jnp.ones_like(value))
    return jnp.sum(value**2) + jax.lax.stop_gradient(jnp.sum(found))


def pullback(model, x):
    value, pull = jax.vjp(model, x)
    return jnp.sum(pull(jnp.ones_like(value))[0] ** 2)


def second_gradient(model, x):
    return jnp.sum(jax.grad(lambda x: jnp.sum(slope(model, x)))(x) ** 2)


def of_a_linear_model(model, x):
    layer = model.layers[1]
    h = jnp.ones((penalties.BATCH, layer.kernel.shape[0]))
    return jnp.sum(jax.grad(lambda h: jnp.sum(layer(h)))(h) ** 2)


def with_values(model, values, x):
    pairs = zip(model.trainable_variables, values, strict=True)
    with keras.StatelessScope(list(pairs)):
        return model(x)


def values_of(model):
    return [v.value for v in model.trainable_variables]


def stopped_gradient_of_the_weights(model, x):
    found = jax.grad(lambda v: jnp.sum(with_values(model, v, x) ** 2))(
        values_of(model)
    )
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in found))
    return jax.lax.stop_gradient(norm) * jnp.sum(model(x))


def jvp(model, x):
    return jnp.sum(jax.jvp(model, (x,), (jnp.ones_like(x),))[1] ** 2)


def stopped_jvp(model, x):
    _, found = jax.jvp(model, (x,), (jnp.ones_like(x),))
    return jnp.sum(jax.lax.stop_gradient(found) * model(x))


def jvp_of_the_weights(model, x):
    values = values_of(model)
    tangents = [jnp.ones_like(v) for v in values]
    _, found = jax.jvp(
        lambda values: with_values(model, values, x), (values,), (tangents,)
    )
    return jnp.sum(found**2)


def linearize(model, x):
    value, push = jax.linearize(model, x)
    return jnp.sum(push(jnp.ones_like(x)) ** 2) + jnp.sum(value)


def jacfwd(model, x):
    return jnp.sum(jax.jacfwd(model)(x) ** 2)


def jacrev(model, x):
    return jnp.sum(jax.jacrev(model)(x) ** 2)


def stopped_jacrev(model, x):
    found = jax.lax.stop_gradient(jax.jacrev(model)(x))
    return jnp.sum(found[:, :, 0, 0] * model(x))


def hessian(model, x):
    return jnp.sum(jax.hessian(functools.partial(total, model))(x) ** 2)


def per_example_gradient(model, x):
    found = jax.vmap(jax.grad(lambda row: total(model, row[None])))(x)
    return jnp.sum(found**2)


def stopped_per_example_gradient(model, x):
    found = jax.vmap(jax.grad(lambda row: total(model, row[None])))(x)
    return jnp.sum(jax.lax.stop_gradient(found)[:, :1] * model(x))


def per_example(model, x):
    return jnp.sum(jax.vmap(lambda row: model(row[None])[0])(x) ** 2)


def checkpoint(model, x):
    return jnp.sum(jax.checkpoint(lambda x: model(x))(x) ** 2)


def checkpointed_gradient(model, x):
    return jnp.sum(jax.checkpoint(lambda x: slope(model, x))(x) ** 2)


def compiled(model, x):
    return jax.jit(functools.partial(total, model))(x)


def compiled_gradient(model, x):
    return jnp.sum(jax.jit(functools.partial(slope, model))(x) ** 2)


@functools.partial(jax.jit, static_argnums=0)
def outputs(model, values, x):
    return with_values(model, values, x)


def compiled_before(model, x):
    return jnp.sum(outputs(model, values_of(model), x) ** 2)


def scanned(model, x):
    def body(carry, row):
        return carry + jnp.sum(model(row[None]) ** 2), None

    return jax.lax.scan(body, 0.0, x)[0]


# Whether a loop of one's own is refused.
QUICK = {
    total: False,
    stopped_gradient: False,
    value_beside_its_slope: True,
    gradient: True,
    jvp: True,
    linearize: True,
    checkpoint: True,
    per_example_gradient: True,
    compiled_before: True,
}
CASES = QUICK | {
    per_example: False,
    stopped_jacrev: False,
    stopped_per_example_gradient: False,
    value_beside_its_pullback: True,
    pullback: True,
    second_gradient: True,
    of_a_linear_model: True,
    stopped_jvp: True,
    jvp_of_the_weights: True,
    jacfwd: True,
    jacrev: True,
    hessian: True,
    checkpointed_gradient: True,
    compiled: True,
    compiled_gradient: True,
    scanned: True,
}
MANY = marks.many(*(each for each in CASES if each not in QUICK))


@pytest.fixture(scope="module")
def made():
    """A model and its K-FAC, whose factors no loss changes."""
    model, optimizer = penalties.attached()
    return model, optimizer, model.get_weights()


@pytest.fixture
def pair(made):
    """The same, with the first weights."""
    model, optimizer, weights = made
    model.set_weights(weights)
    return model, optimizer


@pytest.mark.parametrize(
    "penalty",
    [*QUICK, *MANY, *marks.many(stopped_gradient_of_the_weights)],
    ids=lambda penalty: penalty.__name__,
)
def test_fit_is_right(penalty, pair):
    loss = penalties.Penalized(pair[0], penalty)
    expected = penalties.change_of_sgd(pair[0], loss)
    actual = penalties.change_in_fit(*pair, loss)
    assert training.error(actual, expected) <= penalties.TOLERANCE
    falls_back = penalty not in (total, per_example)
    assert pair[1].attachment.differentiates_twice == falls_back


@pytest.mark.parametrize(
    "penalty", [*QUICK, *MANY], ids=lambda each: each.__name__
)
def test_a_loop_of_ones_own_is_right_or_refused_in_one_line(penalty, pair):
    loss = penalties.Penalized(pair[0], penalty)
    if CASES[penalty]:
        with pytest.raises(ValueError, match="^`preconditioned_back") as error:
            penalties.change_in_loop(*pair, loss)
        assert "\n" not in str(error.value)
        return
    expected = penalties.change_of_sgd(pair[0], loss)
    actual = penalties.change_in_loop(*pair, loss)
    assert training.error(actual, expected) <= penalties.TOLERANCE


def test_gradients_of_a_function_that_is_compiled_by_itself_are_refused(pair):
    """A second call would not trace it, and take U for V."""
    model, optimizer = pair
    loss = penalties.Penalized(model, total)
    x, y = penalties.batch()
    gradients = jax.jit(functools.partial(penalties.gradients, model, loss))
    values = values_of(model)
    with (
        pytest.raises(ValueError, match="all in one compiled function"),
        optimizer.preconditioned_backward(),
    ):
        gradients(x, y, values)
    with (
        pytest.raises(ValueError, match="all in one compiled function"),
        optimizer.preconditioned_backward(),
    ):
        optimizer.apply(
            [jnp.zeros_like(v) for v in values], model.trainable_variables
        )
