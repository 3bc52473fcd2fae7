"""Two replicas on two virtual CPUs, fed with parts of given gradients."""

import functools

import numpy as np
import tensorflow as tf

from tfwd_tests.optimizers import harness


@functools.cache
def strategy():
    """One strategy per process: a second would reuse its collective keys."""
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def split(gradients, seed=0):
    """Returns gradients of two replicas, very unequal, with the given sums."""
    generator = np.random.default_rng(seed)
    result = []
    for step in gradients:
        noise = [g.std() * generator.normal(size=g.shape) for g in step]
        result.append(
            tuple(
                [g / 2 + sign * n for g, n in zip(step, noise, strict=True)]
                for sign in (1, -1)
            )
        )
    return result


def apply_all(make_optimizer, theta, replica_gradients, as_slices=()):
    """Applies each step's gradients on two replicas.

    Args:
        make_optimizer: Makes the optimizer, under the strategy.
        theta: Initial parameters.
        replica_gradients: For each step the gradients of either replica.
        as_slices: Indices of the parameters whose gradients are pairs of
            (ids, rows), handed over as `tf.IndexedSlices`.

    Returns:
        The parameters of each replica.
    """
    with strategy().scope():
        variables = harness.make_variables(theta)
        optimizer = make_optimizer()
        optimizer.build(variables)

    @tf.function
    def step(gradients):
        def replica_step(gradients):
            gradients = [
                tf.IndexedSlices(g[1], g[0], tf.shape(v.value))
                if i in as_slices
                else g
                for i, (g, v) in enumerate(
                    zip(gradients, variables, strict=True)
                )
            ]
            optimizer.apply(gradients, variables)

        strategy().run(replica_step, (gradients,))

    for both in replica_gradients:
        step(_distributed(both))
    return [
        [
            strategy().experimental_local_results(v.value)[replica].numpy()
            for v in variables
        ]
        for replica in range(2)
    ]


def _distributed(both):
    def tensor(x):
        x = np.asarray(x)
        return tf.constant(x, "int64" if x.dtype.kind == "i" else "float32")

    tensors = [tf.nest.map_structure(tensor, list(one)) for one in both]
    flat = [tf.nest.flatten(one) for one in tensors]
    values = [
        strategy().experimental_distribute_values_from_function(
            lambda context, pair=pair: pair[context.replica_id_in_sync_group]
        )
        for pair in zip(*flat, strict=True)
    ]
    return tf.nest.pack_sequence_as(tensors[0], values)
