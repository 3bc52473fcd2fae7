"""The `tf.distribute` strategy of a run."""

import functools

import tensorflow as tf

from tfwd.training import rules


def create(name, num_devices=None, virtual_cpus=None):
    """Makes a strategy.

    Args:
        name: "default" (one replica where TensorFlow puts it), "one_device"
            (the first GPU, or the CPU) or "mirrored" (one replica per GPU, or
            per logical CPU where there is none).
        num_devices: How many of the devices "mirrored" uses; all if `None`.
        virtual_cpus: Splits the CPU into that many logical devices first,
            which has to come before TensorFlow touches any device.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        ValueError: The devices do not exist or cannot be made any more.
    """
    if virtual_cpus is not None:
        _split_cpu(virtual_cpus)
    if name == "default":
        return tf.distribute.get_strategy()
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    devices = [each.name for each in tf.config.list_logical_devices(kind)]
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(devices[0])
    wanted = num_devices or virtual_cpus or len(devices)
    if wanted > len(devices):
        rules.refuse(
            "num_devices",
            f"must be at most the {len(devices)} {kind} devices "
            "(--virtual_cpus splits the CPU)",
            wanted,
        )
    return _mirrored(kind, tuple(devices[:wanted]))


def check_batches(strategy, batch_size, num_examples):
    """Checks that every replica gets examples in every training step.

    Raises:
        ValueError: The batch is larger than the data or not divisible by the
            replicas, or the last batch leaves a replica without an example,
            where batch normalization would average nothing.
    """
    replicas = strategy.num_replicas_in_sync
    last = num_examples % batch_size
    rule = None
    if batch_size > num_examples:
        rule = f"must be at most the {num_examples} training examples"
    elif batch_size % replicas:
        rule = f"must be divisible by the {replicas} replicas"
    elif 0 < last < replicas:
        rule = (
            f"must not leave {last} of {num_examples} training examples for "
            f"the {replicas} replicas in the last batch"
        )
    if rule:
        rules.refuse("batch_size", rule, batch_size)


@functools.cache
def _mirrored(kind, devices):
    # TensorFlow numbers collectives from the same start in every strategy, and
    # refuses a number that comes back with another shape. So a process has one
    # strategy per set of devices; CPUs, which share memory, need none at all.
    reduction = tf.distribute.ReductionToOneDevice() if kind == "CPU" else None
    return tf.distribute.MirroredStrategy(
        list(devices), cross_device_ops=reduction
    )


def _split_cpu(count):
    cpu = tf.config.list_physical_devices("CPU")[0]
    present = tf.config.get_logical_device_configuration(cpu) or []
    if len(present) >= count:
        return
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError:
        rules.refuse(
            "virtual_cpus",
            "must be set before TensorFlow uses the CPU",
            count,
        )
