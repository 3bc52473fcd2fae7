"""Random numbers as a function of (seed, step, global index of the example).

A counter-based hash instead of a generator: the same on every backend and for
every division of a batch among replicas or micro-batches, and nothing to save
with a checkpoint. All functions return [examples, size] for `size` numbers per
example.
"""

import math

import numpy as np
from keras import ops

_STREAM_OFFSET = 0x9E3779B9


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
    fraction = ops.cast(ops.right_shift(bits, _constant(9)), "float32")
    return (fraction + 0.5) / 2**23


def signs(examples, step, seed, size):
    """Returns −1 or 1, float32, each with probability one half."""
    bits = _hash(examples, step, seed, size)
    return 1.0 - 2.0 * ops.cast(ops.right_shift(bits, _constant(31)), "float32")


def normal(examples, step, seed, size):
    """Returns standard normal numbers, float32 (Box & Muller 1958).

    Backends round their functions differently, by one unit in the last place.
    """
    both = uniform(examples, step, seed, 2 * size)
    radius = ops.sqrt(-2.0 * ops.log(both[:, :size]))
    return radius * ops.cos(2 * math.pi * both[:, size:])


def _hash(examples, step, seed, size):
    stream = _mix(
        ops.cast(step, "uint32") + _constant(_STREAM_OFFSET * (seed + 1))
    )
    rows = _mix(ops.bitwise_xor(ops.cast(examples, "uint32"), stream))
    columns = ops.cast(ops.arange(size, dtype="int32"), "uint32")
    return _mix(
        ops.bitwise_xor(
            ops.expand_dims(rows, 1),
            ops.expand_dims(_mix(columns + _constant(_STREAM_OFFSET)), 0),
        )
    )


def _mix(x):
    """A bijection of 32 bits in which each input bit moves every output bit."""
    x = ops.bitwise_xor(x, ops.right_shift(x, _constant(16)))
    x = x * _constant(0x7FEB352D)
    x = ops.bitwise_xor(x, ops.right_shift(x, _constant(15)))
    x = x * _constant(0x846CA68B)
    return ops.bitwise_xor(x, ops.right_shift(x, _constant(16)))


def _constant(value):
    return ops.convert_to_tensor(np.uint32(value % 2**32), dtype="uint32")
