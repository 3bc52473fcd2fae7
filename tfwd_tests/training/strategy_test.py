"""Strategies: devices, and batches that suit them."""

import pytest
import tensorflow as tf

from tfwd.training import strategy as strategy_lib


@pytest.mark.parametrize(
    ("arguments", "replicas"),
    [
        (("default",), 1),
        (("one_device",), 1),
        (("mirrored", 1), 1),
        (("mirrored", 2), 2),
        (("mirrored", None, 2), 2),
    ],
)
def test_strategy_has_the_replicas_asked_for(arguments, replicas):
    made = strategy_lib.create(*arguments)
    assert made.num_replicas_in_sync == replicas


def test_one_device_strategy_is_one_device():
    made = strategy_lib.create("one_device")
    assert isinstance(made, tf.distribute.OneDeviceStrategy)


def test_devices_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="`--num_devices` must be at most"):
        strategy_lib.create("mirrored", 1000)


def test_cpu_cannot_be_split_after_tensorflow_started():
    tf.config.list_logical_devices()
    with pytest.raises(ValueError, match="`--virtual_cpus` must be set before"):
        strategy_lib.create("mirrored", None, 1000)


@pytest.mark.parametrize(
    ("batch_size", "examples", "rule"),
    [
        (129, 128, "at most the 128 training examples"),
        (5, 128, "divisible by the 2 replicas"),
        (4, 129, "must not leave 1 of 129"),
    ],
)
def test_batches_that_do_not_fit_are_refused(batch_size, examples, rule):
    two = strategy_lib.create("mirrored", 2)
    with pytest.raises(ValueError, match=rule) as error:
        strategy_lib.check_batches(two, batch_size, examples)
    assert f"Received: --batch_size={batch_size}" in str(error.value)


@pytest.mark.parametrize(("batch_size", "examples"), [(4, 130), (128, 128)])
def test_batches_that_fit_are_taken(batch_size, examples):
    two = strategy_lib.create("mirrored", 2)
    strategy_lib.check_batches(two, batch_size, examples)
