"""The words of the hash are those of plain Python."""

import keras
import numpy as np
import pytest
from keras import ops

from tfwd import hashing

# Keras' type on torch, which has no arithmetic of uint32.
UINT32 = "int64" if keras.backend.backend() == "torch" else "uint32"
EDGES = [0, 1, 2, 0x9E3779B9, 2**31 - 1, 2**31, 2**32 - 1]


def mixed(x):
    """`lowbias32` of C. Wellons' hash prospector, on Python's integers."""
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ (x >> 16)


def tensor(values):
    return ops.convert_to_tensor(np.asarray(values, "uint32"))


def numpy(x):
    return ops.convert_to_numpy(x)


def test_every_word_is_mixed_as_in_plain_python():
    found = numpy(hashing.mix(tensor(EDGES)))
    assert found.dtype == UINT32
    assert found.tolist() == [mixed(x) for x in EDGES]


def test_a_word_is_a_function_of_its_row_and_column():
    found = numpy(hashing.bits(tensor(EDGES), 5))
    expected = [
        [
            mixed(row ^ mixed((column + 0x9E3779B9) % 2**32))
            for column in range(5)
        ]
        for row in EDGES
    ]
    assert found.tolist() == expected


def test_fewer_columns_are_the_first_of_more():
    few, more = (numpy(hashing.bits(tensor(EDGES), n)) for n in (3, 11))
    np.testing.assert_array_equal(few, more[:, :3])


@pytest.mark.parametrize("value", [-1, -(2**31), 0, 2**31 - 1])
def test_a_word_of_an_integer_is_it_modulo_2_to_32(value):
    word = hashing.word(ops.convert_to_tensor(np.int32(value)))
    assert numpy(word).dtype == UINT32
    assert int(numpy(word)) == value % 2**32


@pytest.mark.parametrize("count", [1, 23, 31])
def test_high_bits_are_the_quotient_by_a_power_of_two(count):
    found = numpy(hashing.high_bits(tensor(EDGES), count))
    assert found.dtype == "int32"
    assert found.tolist() == [x // 2 ** (32 - count) for x in EDGES]


@pytest.mark.parametrize("value", [0, 2**32 - 1, 2**32 + 5, 7 * 2**40 + 3, -1])
def test_a_constant_is_the_value_modulo_2_to_32(value):
    assert int(numpy(hashing.constant(value))) == value % 2**32
