"""Sampling: its bits in plain Python, its invariances, its distribution.

Bounds on statistics are four standard deviations of what independent numbers
give; the numbers are fixed by their seeds, so a bound holds always or never.

Covers `sampling`.
"""

import math

import keras
import numpy as np
import pytest
from keras import ops

from tfwd.kfac import sampling
from tfwd_tests.kfac import compiling

DEVIATIONS = 4
# 2^17 numbers: 16384 examples of 8 numbers.
EXAMPLES, SIZE = 2**14, 8
KINDS = (sampling.uniform, sampling.signs, sampling.normal)
GOLDEN = (
    (0x974E8E9A, 0x095E01BB, 0xE0F01992, 0x046DD618),
    (0xB71A88BB, 0xC2C53178, 0xD7D91CA2, 0x27320A0D),
)


def draw(kind, examples, step=0, seed=0, size=SIZE, way="eager"):
    def numbers(examples, step):
        return kind(examples, step, seed, size)

    examples = ops.convert_to_tensor(np.asarray(examples, "int32"))
    step = ops.convert_to_tensor(step, dtype="int32")
    return ops.convert_to_numpy(compiling.run(way, numbers, examples, step))


def mixed(x):
    """`lowbias32` of C. Wellons' hash prospector, on Python's integers."""
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ (x >> 16)


def bits(example, step, seed, column):
    """The 32 bits of one number: a hash of hashes of its coordinates."""
    golden_ratio = 0x9E3779B9  # 2^32/φ, which sets seeds far apart
    stream = mixed((step + golden_ratio * (seed + 1)) % 2**32)
    row = mixed(example ^ stream)
    return mixed(row ^ mixed((column + golden_ratio) % 2**32))


def table(examples, step, seed, size):
    return np.array(
        [[bits(e, step, seed, c) for c in range(size)] for e in examples],
        dtype="uint32",
    )


def chi_square(cells, count):
    """How many standard deviations χ² of equal cells is off its mean."""
    observed = np.bincount(cells, minlength=count)
    expected = len(cells) / count
    chi = np.sum((observed - expected) ** 2) / expected
    return (chi - (count - 1)) / math.sqrt(2 * (count - 1))


@pytest.mark.parametrize("way", compiling.WAYS)
@pytest.mark.parametrize(
    ("step", "seed"), [(0, 0), (7, 0), (2**30 + 3, 1), (12345, 2**31 + 11)]
)
def test_every_bit_is_that_of_the_hash_in_plain_python(way, step, seed):
    examples = [0, 1, 2, 127, 50_000, 2**31 - 1]
    expected = table(examples, step, seed, 5)
    actual = draw(sampling._hash, examples, step, seed, 5, way)
    assert actual.dtype == "uint32"
    np.testing.assert_array_equal(actual, expected)
    signs = draw(sampling.signs, examples, step, seed, 5, way)
    np.testing.assert_array_equal(signs, 1.0 - 2.0 * (expected >> 31))
    uniform = draw(sampling.uniform, examples, step, seed, 5, way)
    # One rounding to float32, of a number below 1.
    np.testing.assert_allclose(
        uniform.astype("float64"),
        ((expected >> 8) + 0.5) / 2**24,
        rtol=0,
        atol=2**-25,
    )


def test_the_bits_never_change():
    """So that a run that is resumed by a later version samples the same.

    The numbers were printed by `table([0, 1], 7, 3, 4)` above on CPython 3.11,
    which shares nothing with the library.
    """
    golden = np.array(GOLDEN, dtype="uint32")
    np.testing.assert_array_equal(table([0, 1], 7, 3, 4), golden)
    np.testing.assert_array_equal(draw(sampling._hash, [0, 1], 7, 3, 4), golden)


@pytest.mark.parametrize("way", compiling.WAYS)
def test_normal_numbers_are_those_of_box_and_muller(way):
    examples, size = range(500), 6
    upper = table(examples, 5, 2, 2 * size) >> 8
    u = (upper.astype("float64") + 0.5) / 2**24
    expected = np.sqrt(-2 * np.log(u[:, :size])) * np.cos(
        2 * np.pi * u[:, size:]
    )
    actual = draw(sampling.normal, examples, 5, 2, size, way)
    # u in float32 is off by 3e-8, which the logarithm of a u near 1 magnifies:
    # √(−2 log u) is then about √(6e-8) at worst.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2.5e-4)
    assert np.mean(np.abs(actual - expected)) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parts", [(16, 16), (1, 31), (5, 20, 7), (4,) * 8])
def test_every_division_of_a_batch_gives_the_same_numbers(kind, parts):
    whole = draw(kind, np.arange(100, 132), 3, 1, 4)
    starts = 100 + np.cumsum((0, *parts[:-1]))
    pieces = [
        draw(kind, start + np.arange(count), 3, 1, 4)
        for start, count in zip(starts, parts, strict=True)
    ]
    # Logarithm and cosine of TensorFlow round otherwise in the last elements
    # of an array than in its vectors: by units in the last place.
    tolerance = (
        2 * np.spacing(np.float32(5.9)) if kind is sampling.normal else 0
    )
    np.testing.assert_allclose(
        np.concatenate(pieces), whole, rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("kind", (sampling.uniform, sampling.signs))
def test_fewer_numbers_are_the_first_of_more(kind):
    np.testing.assert_array_equal(
        draw(kind, range(9), size=3), draw(kind, range(9), size=11)[:, :3]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_all_numbers_are_float32(kind):
    numbers = kind(ops.arange(3, dtype="int32"), 0, 0, 2)
    assert keras.backend.standardize_dtype(numbers.dtype) == "float32"
    assert tuple(numbers.shape) == (3, 2)


def test_steps_seeds_examples_and_columns_differ():
    """Of n numbers of 24 bits about n²/2²⁵ meet by chance: here 8."""
    numbers = [
        draw(sampling.uniform, range(64), step, seed, 16)
        for step in range(4)
        for seed in range(4)
    ]
    distinct = len(np.unique(np.stack(numbers)))
    count = 16 * 64 * 16
    assert count - distinct < 8 + DEVIATIONS * math.sqrt(8)


def test_uniform_numbers_are_between_0_and_1_and_never_one_of_them():
    """At step 7 the upper 24 bits of example 4065 are all set in column 7."""
    assert bits(4065, 7, 0, 7) >> 8 == 2**24 - 1
    numbers = draw(sampling.uniform, [4065], step=7)
    assert np.all(numbers > 0)
    assert np.all(numbers < 1)


def test_uniform_numbers_have_the_moments_of_the_uniform_distribution():
    u = draw(sampling.uniform, range(EXAMPLES)).astype("float64").ravel()
    assert abs(u.mean() - 1 / 2) < DEVIATIONS * math.sqrt(1 / 12 / u.size)
    spread = math.sqrt((1 / 80 - 1 / 144) / u.size)
    assert abs(np.mean((u - 0.5) ** 2) - 1 / 12) < DEVIATIONS * spread


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    x = draw(sampling.normal, range(EXAMPLES)).astype("float64").ravel()
    # Var xᵏ = E x²ᵏ − (E xᵏ)² with the moments 1, 3, 15, 105 of even order.
    moments = {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}
    for power, (mean, variance) in moments.items():
        bound = DEVIATIONS * math.sqrt(variance / x.size)
        assert abs(np.mean(x**power) - mean) < bound, power


def test_signs_are_minus_and_plus_one_equally_often():
    s = draw(sampling.signs, range(EXAMPLES)).ravel()
    assert set(np.unique(s)) == {-1.0, 1.0}
    assert abs(s.mean()) < DEVIATIONS / math.sqrt(s.size)


@pytest.mark.parametrize("step", [0, 1, 1000])
def test_uniform_numbers_fill_256_cells_evenly(step):
    u = draw(sampling.uniform, range(EXAMPLES), step)
    assert abs(chi_square((u * 256).astype(int).ravel(), 256)) < DEVIATIONS
    for column in range(SIZE):
        cells = (u[:, column] * 256).astype(int)
        assert abs(chi_square(cells, 256)) < DEVIATIONS


def neighbours():
    u = draw(sampling.uniform, range(EXAMPLES))
    return {
        "examples": (u[:-1], u[1:]),
        "columns": (u[:, :-1], u[:, 1:]),
        "steps": (u, draw(sampling.uniform, range(EXAMPLES), step=1)),
        "seeds": (u, draw(sampling.uniform, range(EXAMPLES), seed=1)),
        # As when the example and the step grow together, at batch size 1.
        "both": (u[:-1], draw(sampling.uniform, range(EXAMPLES), step=1)[1:]),
    }


@pytest.mark.parametrize(
    "direction", ["examples", "columns", "steps", "seeds", "both"]
)
def test_neighbours_are_independent(direction):
    """By the correlation, and by χ² of the pairs in 16 × 16 cells."""
    one, other = (x.astype("float64").ravel() for x in neighbours()[direction])
    correlation = 12 * np.mean((one - 0.5) * (other - 0.5))
    assert abs(correlation) < DEVIATIONS / math.sqrt(one.size)
    cells = 16 * (one * 16).astype(int) + (other * 16).astype(int)
    assert abs(chi_square(cells, 256)) < DEVIATIONS
