"""Dropout and normalization on two replicas, and in compiled functions."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfwd import models
from tfwd.models import dropout
from tfwd_tests.models import examining

KEYS = np.array([7, 2**32 - 1, 12345, 0], "uint32")


@functools.cache
def strategy():
    """One strategy per process: a second would reuse its collective keys."""
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def halves(array):
    """An array as one value, with a half for each replica."""
    parts = tf.split(tf.constant(array), 2)
    return strategy().experimental_distribute_values_from_function(
        lambda context: parts[context.replica_id_in_sync_group]
    )


def on_both(function, *arrays):
    """Calls a function on the halves; returns the halves of its result."""

    @tf.function
    def step(*values):
        return strategy().run(function, values)

    result = step(*map(halves, arrays))
    return np.concatenate(strategy().experimental_local_results(result))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_compiled_function_of_any_shape_drops_as_an_eager_one(jit_compile):
    layer = dropout.KeyedDropout(0.5, stream=2)
    x = examining.images(4, (6, 5))

    def call(x, keys):
        with dropout.keyed(keys):
            return layer(x, training=True)

    # XLA compiles for the shapes it is called with.
    compiled = tf.function(
        call,
        input_signature=[
            tf.TensorSpec((None, None, None)),
            tf.TensorSpec((None,), tf.uint32),
        ],
        jit_compile=jit_compile,
    )
    np.testing.assert_array_equal(compiled(x, KEYS), call(tf.constant(x), KEYS))


def test_two_replicas_drop_what_one_device_drops():
    with strategy().scope():
        layer = dropout.KeyedDropout(0.5, stream=0)
    x = examining.images(4, (30,))

    def call(x, keys):
        with dropout.keyed(keys):
            return layer(x, training=True)

    np.testing.assert_array_equal(
        on_both(call, x, KEYS), call(tf.constant(x), KEYS)
    )


@pytest.mark.parametrize("name", ["vgg11", "resnet20"])
def test_all_normalization_is_synchronized_if_asked_for(name):
    norms = examining.layers_of(
        examining.small(name, sync_batch_norm=True),
        keras.layers.BatchNormalization,
    )
    assert norms and all(norm.synchronized for norm in norms)


@pytest.mark.parametrize("synchronized", [True, False])
def test_synchronized_replicas_compute_what_one_device_computes(synchronized):
    arguments = {"hidden_layers": 1, "hidden_units": 16}
    alone = models.build("mlp", (8,), 5, **arguments)
    with strategy().scope():
        mirrored = models.build(
            "mlp", (8,), 5, sync_batch_norm=synchronized, **arguments
        )
    mirrored.set_weights(alone.get_weights())
    x = examining.images(4, (8,))
    found = on_both(lambda x: mirrored(x, training=True), x)
    error = np.abs(found - alone(x, training=True)).max()
    # Variances of four numbers near 1, as a difference of means in float32.
    assert (error < 1e-5) == synchronized
