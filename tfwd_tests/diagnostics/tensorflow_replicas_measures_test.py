"""Measures on two mirrored replicas are those on one device."""

import numpy as np
import pytest
import tensorflow as tf

from tfwd.diagnostics import metrics
from tfwd_tests.diagnostics import measuring
from tfwd_tests.kfac import models
from tfwd_tests.optimizers import replicas


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def test_uneven_batches_on_two_replicas_give_what_one_replica_gives():
    # Seven examples in batches of three: the second replica has one example of
    # the first two batches, and none of the last.
    loss = models.loss_of("softmax")
    x, y = measuring.data(7)
    batches = [(x[i : i + 3], y[i : i + 3]) for i in (0, 3, 6)]
    single = measuring.everything(measuring.network(), [(x, y)], loss)
    with replicas.strategy().scope():
        mirrored = measuring.network()
    before = measuring.state(mirrored)
    found = measuring.everything(mirrored, batches, loss)
    for name, value in single.items():
        np.testing.assert_allclose(
            found[name], value, rtol=1e-10, atol=1e-14, err_msg=name
        )
    for old, new in zip(before, measuring.state(mirrored), strict=True):
        np.testing.assert_array_equal(old, new)


def test_distributed_data_with_padding_gives_what_its_examples_give():
    loss = models.loss_of("softmax")
    x, y = measuring.data(7)
    weights = np.array([1.0, 1, 1, 0, 1, 1, 0])
    expected = metrics.gauss_newton_norm(
        measuring.network(), x[weights > 0], loss=loss
    )
    with replicas.strategy().scope():
        mirrored = measuring.network()
    dataset = tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(4)
    distributed = replicas.strategy().experimental_distribute_dataset(dataset)
    found = metrics.gauss_newton_norm(mirrored, distributed, loss=loss)
    np.testing.assert_allclose(found, expected, rtol=1e-11)
