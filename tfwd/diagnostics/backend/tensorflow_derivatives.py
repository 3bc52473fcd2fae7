"""What the diagnostics need of TensorFlow, `jax_backend`'s twin."""

import functools

import tensorflow as tf

from tfwd.kfac.backend import tensorflow_backend


def squared_pullbacks(function, inputs, cotangents_at):
    """Returns Σ_k ‖v_kᵀ ∂f/∂x‖² of each example, [batch].

    One backpropagation per k, in a loop, so that the program stays small.

    Args:
        function: A function of inputs [batch, ...] that returns [batch, size],
            of each example alone.
        inputs: A float tensor.
        cotangents_at: A function of the values that returns v, [batch or 1,
            count, size].
    """
    with tf.GradientTape(
        persistent=True, watch_accessed_variables=False
    ) as tape:
        tape.watch(inputs)
        values = function(inputs)
    cotangents = cotangents_at(values)

    def add(k, total):
        gradient = tape.gradient(
            values,
            inputs,
            output_gradients=tf.ones_like(values) * cotangents[:, k],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        axes = tuple(range(1, gradient.shape.rank))
        squares = tf.reduce_sum(tf.square(gradient), axes)
        return k + 1, total + tf.cast(squares, total.dtype)

    count = tf.shape(cotangents)[1]
    total = tf.zeros(tf.shape(values)[:1], values.dtype)
    # One at a time: each iteration holds a backward pass.
    _, total = tf.while_loop(
        lambda k, _: k < count,
        add,
        (tf.constant(0), total),
        parallel_iterations=1,
    )
    return total


def derivative(function, dtype):
    """Returns f(1) and f′(1) of a function of a scalar.

    f′(s) is the derivative, with respect to u, of the product uᵀ f′(s) that
    backpropagation gives. `tf.autodiff.ForwardAccumulator`, which would be
    direct, does not go through the loops of recurrent layers in a graph.

    Args:
        function: A function of a scalar tensor that returns a tensor.
        dtype: Of the scalar.
    """
    one = tf.ones((), dtype)
    zero = tf.UnconnectedGradients.ZERO
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            inner.watch(one)
            value = function(one)
        u = tf.zeros_like(value)
        outer.watch(u)
        product = inner.gradient(
            value, one, output_gradients=u, unconnected_gradients=zero
        )
    return value, outer.gradient(product, u, unconnected_gradients=zero)


def strategy_of(model):
    """Returns the `tf.distribute.Strategy` of a model."""
    return model.distribute_strategy


def shared_out(batch, strategy):
    """Returns a batch as the program of `compiled` takes it.

    Every replica gets a part of the examples, in order, the last ones less
    than the others or none. What is distributed already stays as it is.

    Args:
        batch: Nested arrays or tensors [batch, ...], and None.
        strategy: What `strategy_of` returned.
    """
    replicas = strategy.num_replicas_in_sync

    def share(leaf):
        if leaf is None or isinstance(leaf, tf.distribute.DistributedValues):
            return leaf
        leaf = tf.convert_to_tensor(leaf)
        if replicas == 1:
            return leaf
        size = -(-leaf.shape[0] // replicas)

        def part(context):
            first = context.replica_id_in_sync_group * size
            return leaf[first : first + size]

        return strategy.experimental_distribute_values_from_function(part)

    return tf.nest.map_structure(share, batch)


def compiled(function, variables, strategy):
    """Returns a function, compiled, whose results are summed over replicas.

    Args:
        function: A function of nested tensors that returns nested tensors; run
            on every replica.
        variables: All variables it reads; on this backend it just does.
        strategy: What `strategy_of` returned.
    """
    del variables
    # Of a partial object TensorFlow counts the traces by themselves; of one
    # function for all programs it warns that it is traced too often.
    program = tf.function(
        functools.partial(_summed, function, strategy), reduce_retracing=True
    )

    def call(*arguments):
        with tensorflow_backend.full_precision():
            return program(*arguments)

    return call


def _summed(function, strategy, *arguments):
    results = strategy.run(function, arguments)
    return tf.nest.map_structure(
        lambda result: strategy.reduce("SUM", result, axis=None), results
    )
