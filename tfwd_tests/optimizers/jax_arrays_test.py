"""Sparse gradients, shared buffers and half precision on JAX."""

import jax.numpy as jnp
import keras
import numpy as np
import pytest
from jax.experimental import sparse

import tfwd
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import table

WAYS = [
    {},
    {"clipnorm": 0.1},
    {"global_clipnorm": 0.1},
    {"clipvalue": 0.01},
    {"loss_scale_factor": 4.0},
    {"gradient_accumulation_steps": 2},
]


def sparse_and_dense(step):
    """Returns a gradient of rows 1 and 3, of which row 3 is given twice."""
    generator = np.random.default_rng(step)
    rows = generator.normal(size=(3, 4)).astype("float32")
    ids = np.array([[1], [3], [3]])
    dense = np.zeros((5, 4), "float32")
    np.add.at(dense, ids[:, 0], rows)
    return sparse.BCOO((jnp.array(rows), jnp.array(ids)), shape=(5, 4)), dense


def applied(optimizer, gradients):
    variable = keras.Variable(np.ones((5, 4), "float32"))
    for gradient in gradients:
        optimizer.apply([gradient], [variable])
    return np.asarray(variable.value)


@pytest.mark.parametrize("case", table.CASES, ids=table.case_id)
def test_bcoo_gradient_is_the_dense_one(case):
    row, mode = case
    pairs = [sparse_and_dense(step) for step in range(4)]
    actual = applied(row.make(mode), [s for s, _ in pairs])
    expected = row.expected(
        mode, [np.ones((5, 4))], [[dense] for _, dense in pairs]
    )
    assert harness.relative_error([actual], expected) <= 1e-6


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_bcoo_gradient_is_clipped_scaled_and_accumulated_as_a_dense_one(way):
    pairs = [sparse_and_dense(step) for step in range(4)]
    make = table.Row("SGD", "sgd", constants={"momentum": 0.0}).make
    actual, expected = (
        applied(make("decoupled", **way), gradients)
        for gradients in zip(*pairs, strict=True)
    )
    assert np.any(actual != 1)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("frequency", [None, 3])
def test_second_fit_with_averaged_weights_goes_on(frequency):
    """θ of each fit starts at the average that the fit before left."""
    optimizer = tfwd.SGD(
        0.5,
        momentum=0.0,
        use_ema=True,
        ema_momentum=0.75,
        ema_overwrite_frequency=frequency,
    )
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, use_bias=False)]
    )
    model.layers[0].kernel.assign([[1.0], [-2.0]])
    model.compile(optimizer, loss=lambda _, y: keras.ops.mean(y, -1))
    weights, average = np.array([1.0, -2.0]), 0.0
    for step in range(8):
        weights = weights - 0.5
        beta = 0.75 if step else 0.0
        average = beta * average + (1 - beta) * weights
        if (frequency and (step + 1) % frequency == 0) or step % 4 == 3:
            weights = average
    for _ in range(2):
        model.fit(np.ones((4, 2)), np.zeros(4), batch_size=1, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], weights, rtol=1e-6)


@pytest.mark.parametrize("name", ["SGDS", "AdamS", "AdaiS"])
def test_gradients_accumulate_where_floatx_is_bfloat16(name):
    """Two equal gradients of a power of two are one, in any precision."""
    keras.config.set_floatx("bfloat16")
    try:
        results = []
        for parts in (None, 2):
            optimizer = getattr(tfwd, name)(
                0.125, weight_decay=0.5, gradient_accumulation_steps=parts
            )
            variable = keras.Variable([1.0, -2.0])
            gradients = [[[0.5, 0.25]]] * (3 * (parts or 1))
            results += harness.apply_all(optimizer, [variable], gradients)
    finally:
        keras.config.set_floatx("float32")
    np.testing.assert_array_equal(*results)
    assert np.all(np.asarray(results[0], "float32") != [1.0, -2.0])
