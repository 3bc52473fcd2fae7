"""Random bits by a counter-based hash, the same on every Keras backend.

A number is a function of where it stands, not of how many were drawn before:
nothing has to be saved, and every division of the work draws the same. The
bits are uint32, [rows, columns]. On torch Keras holds a uint32 in an int64,
which `word` cuts to 32 bits.
"""

import keras
import numpy as np
from keras import ops

# 2^32 / φ: multiples of it are far apart, and it moves 0, where `mix` is 0.
GOLDEN_RATIO = 0x9E3779B9


def mix(x):
    """Scrambles uint32 numbers one to one; `lowbias32` of C. Wellons (2018).

    A change of one bit of `x` changes each bit of the result half of the time.
    """
    x = ops.bitwise_xor(x, ops.right_shift(x, constant(16)))
    x = word(x * constant(0x7FEB352D))
    x = ops.bitwise_xor(x, ops.right_shift(x, constant(15)))
    x = word(x * constant(0x846CA68B))
    return ops.bitwise_xor(x, ops.right_shift(x, constant(16)))


def bits(rows, columns):
    """Returns mix(row ^ mix(column + 2^32 / φ)), uint32 [rows, columns].

    Args:
        rows: What tells one row from another, a uint32 tensor [rows]; well
            mixed, because rows that differ in few bits share columns.
        columns: How many numbers per row, an int or an int scalar.
    """
    numbers = ops.cast(ops.arange(columns, dtype="int32"), "uint32")
    numbers = mix(word(numbers + constant(GOLDEN_RATIO)))
    return mix(
        ops.bitwise_xor(ops.expand_dims(rows, 1), ops.expand_dims(numbers, 0))
    )


def high_bits(x, count):
    """Returns the upper `count` bits, 1 to 31, of uint32 numbers, as int32."""
    return ops.cast(ops.right_shift(x, constant(32 - count)), "int32")


def word(x):
    """Returns integers modulo 2^32 as uint32."""
    x = ops.cast(x, "uint32")
    if keras.backend.backend() != "torch":
        return x
    return ops.bitwise_and(x, constant(2**32 - 1))


def constant(value):
    """Returns a Python int modulo 2^32 as a uint32 tensor."""
    return ops.convert_to_tensor(np.uint32(value % 2**32), dtype="uint32")
