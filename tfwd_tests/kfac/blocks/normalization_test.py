"""Blocks of normalizations against per-example gradients in numpy."""

import keras
import numpy as np
import pytest
from keras import ops

from tfwd.kfac import blocks
from tfwd_tests.kfac.blocks import checking
from tfwd_tests.optimizers import harness

SHAPE = (4, 3, 5, 6)


def case_id(case):
    name, _, arguments = case
    return f"{name}-{arguments}"


# Class, axes that are normalized (None: by channel over the batch), arguments.
BATCH = [
    ("BatchNormalization", (3,), {}),
    ("BatchNormalization", (1,), {"axis": 1}),
    ("BatchNormalization", (2,), {"axis": -2}),
    ("BatchNormalization", (3,), {"scale": False}),
    ("BatchNormalization", (3,), {"center": False}),
]
LAYER = [
    ("LayerNormalization", (3,), {}),
    ("LayerNormalization", (1,), {"axis": 1}),
    ("LayerNormalization", (2, 3), {"axis": [2, 3]}),
    ("LayerNormalization", (1, 3), {"axis": [-1, 1]}),
    ("LayerNormalization", (1, 2, 3), {"axis": [1, 2, 3]}),
    ("LayerNormalization", (3,), {"scale": False}),
    ("LayerNormalization", (3,), {"center": False}),
]


def normalized(name, inputs, axes, epsilon):
    if name == "BatchNormalization":
        axes = tuple(i for i in range(inputs.ndim) if i not in axes)
    mean = inputs.mean(axis=axes, keepdims=True)
    variance = inputs.var(axis=axes, keepdims=True)
    return (inputs - mean) / np.sqrt(variance + epsilon)


def by_channel(array, axes):
    """Returns [batch, channels], summed over positions."""
    positions = tuple(i for i in range(1, array.ndim) if i not in axes)
    return array.sum(axis=positions).reshape(len(array), -1)


def example_gradients(features, gradient, axes, arguments):
    """Returns [batch, channels, p]."""
    columns = []
    if arguments.get("scale", True):
        columns.append(by_channel(features * gradient, axes))
    if arguments.get("center", True):
        columns.append(by_channel(gradient, axes))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", BATCH + LAYER, ids=case_id)
def test_factor_and_matrix_equal_gradients_by_example(case, dtype):
    name, axes, arguments = case
    random = checking.generator()
    inputs = random.normal(size=SHAPE).astype(dtype)
    vectors = [random.normal(size=SHAPE).astype(dtype) for _ in range(2)]
    tolerance = {"float32": 2e-6, "float64": 1e-13}[dtype]
    with harness.float64():
        layer = getattr(keras.layers, name)(
            **arguments, epsilon=1e-3, dtype=dtype
        )
        checking.built(layer, inputs)
        block = blocks.block_for(layer)
        x = checking.tensor(inputs, dtype)
        features = block.features(x, lambda x: layer.call(x, **training(name)))
        call = blocks.Call(
            features, tuple(checking.tensor(v, dtype) for v in vectors)
        )
        ((f, count),) = block.statistics([call])
        matrix = block.to_matrix(
            checking.gradients(layer, x, call.gradients[0], **training(name))
        )
        back = block.from_matrix(block.to_matrix(block.variables))
    truth = normalized(name, inputs.astype("float64"), axes, 1e-3)
    # On JAX Keras' normalization rounds float64 to float32, as do gradients
    # through it; what the block makes of its features does not.
    on_jax = keras.backend.backend() == "jax"
    of_layer = 2e-6 if on_jax else tolerance
    assert checking.error(features, truth) <= of_layer
    features = checking.numpy(features).astype("float64")
    u = [example_gradients(features, v, axes, arguments) for v in vectors]
    assert checking.error(matrix, u[0].sum(0)[..., None]) <= of_layer
    moments = sum(np.einsum("bcp,bcq->cpq", each, each) for each in u)
    assert checking.error(f, moments) <= tolerance
    assert float(count) == len(inputs)
    assert block.factor_shapes == (moments.shape,)
    assert block.positions([call]) * moments.shape[0] == np.prod(SHAPE[1:])
    assert keras.backend.standardize_dtype(f.dtype) == dtype
    for value, variable in zip(back, block.variables, strict=True):
        np.testing.assert_array_equal(
            checking.numpy(value), checking.numpy(variable)
        )


def training(name):
    return {"training": True} if name == "BatchNormalization" else {}


def test_two_calls_add_up_within_an_example():
    random = checking.generator()
    features = random.normal(size=(4, 5, 3)).astype("float32")
    gradient = random.normal(size=(4, 5, 3)).astype("float32")
    layer = keras.layers.LayerNormalization()
    block = blocks.block_for(checking.built(layer, features))
    whole = [blocks.Call(ops.array(features), (ops.array(gradient),))]
    parts = [
        blocks.Call(
            ops.array(features[:, part]), (ops.array(gradient[:, part]),)
        )
        for part in (slice(0, 2), slice(2, 5))
    ]
    assert block.positions(parts) == block.positions(whole) == 5
    ((one, _),) = block.statistics(whole)
    ((two, count),) = block.statistics(parts)
    assert checking.error(two, checking.numpy(one)) <= 2e-6
    assert float(count) == 4


def test_features_change_no_moving_average():
    inputs = checking.generator().normal(size=SHAPE).astype("float32")
    layer = checking.built(keras.layers.BatchNormalization(), inputs)
    block = blocks.block_for(layer)
    before = [checking.numpy(v) for v in layer.variables]
    with keras.StatelessScope() as scope:
        block.features(
            ops.array(inputs), lambda x: layer.call(x, training=True)
        )
    for value, variable in zip(before, layer.variables, strict=True):
        np.testing.assert_array_equal(checking.numpy(variable), value)
        assert scope.get_current_value(variable) is None


def test_features_use_the_variables_of_the_scope_around_them():
    inputs = checking.generator().normal(size=SHAPE).astype("float32")
    layer = checking.built(keras.layers.BatchNormalization(), inputs)
    block = blocks.block_for(layer)
    mapping = [
        (layer.moving_mean, ops.full((6,), 2.0)),
        (layer.moving_variance, ops.full((6,), 4.0)),
    ]
    with keras.StatelessScope(mapping):
        features = block.features(
            ops.array(inputs), lambda x: layer.call(x, training=False)
        )
    truth = (inputs - 2) / np.sqrt(4 + layer.epsilon)
    assert checking.error(features, truth) <= 2e-6


def test_nothing_flows_back_through_features():
    inputs = checking.generator().normal(size=SHAPE).astype("float32")
    layer = checking.built(keras.layers.LayerNormalization(), inputs)
    block = blocks.block_for(layer)

    def loss(x):
        return ops.sum(x * block.features(x, layer.call))

    x = ops.array(inputs)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        gradient = tape.gradient(value, x)
    else:
        import jax

        gradient = jax.grad(loss)(x)
    np.testing.assert_array_equal(
        checking.numpy(gradient), checking.numpy(block.features(x, layer.call))
    )


def test_a_frozen_scale_leaves_the_block_of_the_shift():
    inputs = checking.generator().normal(size=SHAPE).astype("float32")
    layer = checking.built(keras.layers.BatchNormalization(), inputs)
    layer.gamma.trainable = False
    block = blocks.block_for(layer)
    assert [v.name for v in block.variables] == ["beta"]
    call = blocks.Call(ops.array(inputs), (ops.array(inputs),))
    ((f, _),) = block.statistics([call])
    u = inputs.sum((1, 2))
    assert checking.error(f[:, 0, 0], (u**2).sum(0)) <= 2e-6
