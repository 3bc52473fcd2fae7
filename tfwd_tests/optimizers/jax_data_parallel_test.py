"""`fit` under Keras' data parallelism on JAX, on two virtual CPUs."""

import keras
import pytest

from tfwd_tests.optimizers import fitting
from tfwd_tests.optimizers import harness


@pytest.mark.parametrize("name", fitting.LEARNING_RATES)
def test_two_devices_give_the_weights_of_one(name):
    single = fitting.trained(name).get_weights()
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"])
    )
    try:
        parallel = fitting.trained(name).get_weights()
    finally:
        keras.distribution.set_distribution(None)
    assert harness.relative_error(parallel, single) <= 1e-6
