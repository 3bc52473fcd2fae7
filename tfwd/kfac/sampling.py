"""Random numbers as a function of (seed, step, global index of the example).

A counter-based hash instead of a generator: the same on every backend and for
every division of a batch among replicas or micro-batches, and nothing to save
with a checkpoint. All functions return [examples, size] for `size` numbers per
example.
"""

import math

from keras import ops

from tfwd import hashing


def uniform(examples, step, seed, size):
    """Returns numbers in (0, 1), float32, with 23 random bits each.

    Args:
        examples: Global indices of the examples, an int tensor [examples].
        step: The step, an int scalar.
        seed: A Python int.
        size: How many numbers per example.
    """
    bits = _hash(examples, step, seed, size)
    # 23 bits and a half fit into the 24 of a float32: nothing rounds to 1.
    fraction = ops.cast(hashing.high_bits(bits, 23), "float32")
    return (fraction + 0.5) / 2**23


def signs(examples, step, seed, size):
    """Returns −1 or 1, float32, each with probability one half."""
    bits = _hash(examples, step, seed, size)
    return 1.0 - 2.0 * ops.cast(hashing.high_bits(bits, 1), "float32")


def normal(examples, step, seed, size):
    """Returns standard normal numbers, float32 (Box & Muller 1958).

    Backends round their functions differently, by one unit in the last place.
    """
    both = uniform(examples, step, seed, 2 * size)
    radius = ops.sqrt(-2.0 * ops.log(both[:, :size]))
    return radius * ops.cos(2 * math.pi * both[:, size:])


def _hash(examples, step, seed, size):
    stream = hashing.mix(
        ops.cast(step, "uint32")
        + hashing.constant(hashing.GOLDEN_RATIO * (seed + 1))
    )
    rows = ops.bitwise_xor(ops.cast(examples, "uint32"), stream)
    return hashing.bits(hashing.mix(rows), size)
