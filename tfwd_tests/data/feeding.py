"""Takes batches from a dataset as the replicas of a strategy would."""

import itertools

import numpy as np

from tfwd import data


def steps_of(dataset, num_steps, count=1):
    """The first steps: a list of lists, one `Batch` of arrays per replica."""
    elements = (
        data.Batch(*(tensor.numpy() for tensor in batch)) for batch in dataset
    )
    return [list(itertools.islice(elements, count)) for _ in range(num_steps)]


def joined(parts):
    """The batch whose rows are those of the parts, one after another."""
    return data.Batch(*map(np.concatenate, zip(*parts, strict=True)))


def assert_equal(batch, expected):
    """Asserts that two batches are the same bit for bit."""
    for ours, theirs in zip(batch, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
