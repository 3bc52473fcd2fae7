"""What is true of every block, held against rows written in numpy.

A layer without activation is linear in its kernel, so its output is a @ W with
a its rows, and the gradient of W is Σ a gᵀ, given by the backend.
"""

import keras
import numpy as np
from keras import ops

from tfwd.kfac import blocks

# Relative to the norm of the truth. In float32, sums of a few hundred
# products, each rounded at 6e-8.
TOLERANCES = {"float32": 2e-6, "float64": 1e-13}


def generator(seed=0):
    return np.random.default_rng(seed)


def tensor(array, dtype):
    return ops.convert_to_tensor(np.asarray(array), dtype=dtype)


def numpy(value):
    return np.asarray(ops.convert_to_numpy(value))


def built(layer, inputs):
    """Builds a layer with kernel and bias of ordinary random numbers."""
    layer(tensor(inputs, layer.compute_dtype))
    for variable in layer.trainable_variables:
        variable.assign(generator(7).normal(size=variable.shape))
    return layer


def error(actual, truth):
    actual, truth = numpy(actual).astype("float64"), np.asarray(truth)
    if actual.shape != truth.shape:
        raise ValueError(f"shapes differ: {actual.shape}, {truth.shape}")
    norm = np.linalg.norm(truth)
    return np.linalg.norm(actual - truth) / (norm if norm else 1.0)


def gradients(layer, inputs, cotangent, **call_arguments):
    """Returns the gradients of Σ cotangent · layer(inputs), by the backend."""
    values = [v.value for v in layer.trainable_variables]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            outputs = layer(inputs, **call_arguments)
            loss = tf.reduce_sum(outputs * cotangent)
        return tape.gradient(loss, values)
    import jax

    def loss(values):
        mapping = zip(layer.trainable_variables, values, strict=True)
        with keras.StatelessScope(list(mapping)):
            return ops.sum(layer(inputs, **call_arguments) * cotangent)

    return jax.grad(loss)(values)


def moment(rows, weights=None):
    weights = np.ones(rows.shape[-2]) if weights is None else weights
    return np.einsum("...ri,r,...rj->...ij", rows, weights, rows)


def call(block, inputs, output_gradients, weights=None, mask=None):
    dtype = block.layer.compute_dtype
    inputs = tensor(inputs, dtype)
    return blocks.Call(
        block.features(inputs, block.layer.call),
        tuple(tensor(g, dtype) for g in output_gradients),
        None if weights is None else tensor(weights, dtype),
        None if mask is None else tensor(mask, "bool"),
    )


def statistics(block, one):
    """Returns the statistics of one call, by one program on JAX.

    There every operation on a new shape is otherwise compiled by itself.
    """
    if keras.backend.backend() != "jax":
        return block.statistics([one])
    import jax

    def run(features, vectors):
        return block.statistics([blocks.Call(features, vectors)])

    return jax.jit(run)(one.features, one.gradients)


def assert_block_agrees(layer, inputs, rows, rows_of_output):
    """Checks forward, gradient, statistics and matrix form of a block.

    Args:
        layer: Not built, without activation.
        inputs: Its input.
        rows: [(groups,) rows, n] in numpy, the bias' ones included.
        rows_of_output: Function from [batch, ...] outputs, or their
            gradients, to [(groups,) rows, m] in numpy.
    """
    built(layer, inputs)
    tolerance = TOLERANCES[layer.compute_dtype]
    block = blocks.block_for(layer)
    x = tensor(inputs, layer.compute_dtype)
    outputs = numpy(layer(x))
    matrix = block.to_matrix(block.variables)
    assert error(rows_of_output(outputs), rows @ numpy(matrix)) <= tolerance

    for value, variable in zip(
        block.from_matrix(matrix), block.variables, strict=True
    ):
        np.testing.assert_array_equal(numpy(value), numpy(variable))

    vectors = [generator(i).normal(size=outputs.shape) for i in (1, 2)]
    vectors = [v.astype(layer.compute_dtype) for v in vectors]
    g = [rows_of_output(vector).astype("float64") for vector in vectors]
    by_backend = gradients(layer, x, tensor(vectors[0], layer.compute_dtype))
    truth = np.swapaxes(rows, -1, -2) @ g[0]
    assert error(block.to_matrix(by_backend), truth) <= tolerance

    one = call(block, inputs, vectors)
    (a, a_count), (s, s_count) = statistics(block, one)
    assert (tuple(a.shape), tuple(s.shape)) == block.factor_shapes
    assert error(a, moment(rows)) <= tolerance
    assert error(s, moment(g[0]) + moment(g[1])) <= tolerance
    assert float(a_count) == rows.shape[-2]
    assert float(s_count) == len(inputs)
    assert int(block.positions([one])) == rows.shape[-2] // len(inputs)
    assert {keras.backend.standardize_dtype(t.dtype) for t in (a, s)} == {
        block.dtype
    }
    return block
