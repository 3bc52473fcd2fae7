"""`fit` under Keras' data parallelism on JAX, on two virtual CPUs."""

import keras
import pytest

from tfwd_tests.optimizers import fit_test
from tfwd_tests.optimizers import harness


@pytest.mark.parametrize(("name", "learning_rate"), fit_test.STABLE)
def test_two_devices_give_the_weights_of_one(name, learning_rate):
    single = fit_test.trained(name, learning_rate).get_weights()
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"])
    )
    try:
        parallel = fit_test.trained(name, learning_rate).get_weights()
    finally:
        keras.distribution.set_distribution(None)
    assert harness.relative_error(parallel, single) <= 1e-6
