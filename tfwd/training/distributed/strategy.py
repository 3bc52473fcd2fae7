"""The `tf.distribute` strategy of a run."""

import functools
import socket
import urllib.parse

import tensorflow as tf

from tfwd.data import batches
from tfwd.training.config import rules
from tfwd.training.distributed import cluster as cluster_lib

_SECONDS_TO_CONNECT = 10


def create(
    settings, tpu_resolver=tf.distribute.cluster_resolver.TPUClusterResolver
):
    """Makes the strategy that `settings.strategy` names.

    - default: one replica where TensorFlow puts it.
    - one_device: the first GPU, or the CPU.
    - mirrored: one replica per GPU, or per logical CPU where there is none;
      `num_devices` of them. `virtual_cpus` splits the CPU first, which has to
      come before TensorFlow touches any device.
    - multi_worker: the GPUs, or the CPU, of every process that TF_CONFIG or
      else `worker_hosts` and `task_index` name. It has to come before
      TensorFlow touches any device, and returns when all have come.
    - tpu: the cores of the TPU that `tpu` names, by default the local one.

    Args:
        settings: The `Distribution` settings.
        tpu_resolver: Makes a cluster resolver from the keyword `tpu`.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        ValueError: The devices do not exist, cannot be reached or cannot be
            made any more, or the cluster is not described as it must be.
    """
    if settings.strategy == "multi_worker":
        return _multi_worker(
            cluster_lib.configure(settings.hosts(), settings.task_index)
        )
    if settings.strategy == "tpu":
        return _tpu(settings.tpu or "local", tpu_resolver)
    if settings.virtual_cpus is not None:
        _split_cpu(settings.virtual_cpus)
    if settings.strategy == "default":
        return tf.distribute.get_strategy()
    kind = _kind_of_devices()
    devices = [each.name for each in tf.config.list_logical_devices(kind)]
    if settings.strategy == "one_device":
        return tf.distribute.OneDeviceStrategy(devices[0])
    wanted = settings.num_devices or settings.virtual_cpus or len(devices)
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


def num_workers(strategy):
    """Returns the number of processes that train together."""
    return _place(strategy)[1]


def is_chief(strategy):
    """Returns whether this process is the one that writes the run's files."""
    return _place(strategy)[0] == 0


def shard(strategy):
    """Returns the replicas that this process feeds, a `batches.Shard`.

    Those of its own devices under multi_worker, else all of them.
    """
    index, workers = _place(strategy)
    replicas = strategy.num_replicas_in_sync
    local = replicas // workers
    return batches.Shard(replicas, index * local, local)


def _place(strategy):
    """(number of this process, number of processes), the chief being 0."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    jobs = resolver.cluster_spec().as_dict()
    # TensorFlow numbers the replicas in this order too.
    order = [
        (kind, index)
        for kind in ("chief", "worker")
        for index in range(len(jobs.get(kind, ())))
    ]
    return order.index((resolver.task_type, resolver.task_id)), len(order)


def _kind_of_devices():
    return "GPU" if tf.config.list_physical_devices("GPU") else "CPU"


@functools.cache
def _mirrored(kind, devices):
    # TensorFlow numbers collectives from the same start in every strategy, and
    # refuses a number that comes back with another shape. So a process has one
    # strategy per set of devices; CPUs, which share memory, need none at all.
    reduction = tf.distribute.ReductionToOneDevice() if kind == "CPU" else None
    return tf.distribute.MirroredStrategy(
        list(devices), cross_device_ops=reduction
    )


@functools.cache
def _multi_worker(cluster):
    # Cached, as it starts this process' server. `cluster` is in TF_CONFIG.
    options = tf.distribute.experimental
    kinds = options.CommunicationImplementation
    return tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=options.CommunicationOptions(
            # NCCL, which AUTO may choose, needs GPUs.
            implementation=(
                kinds.AUTO if _kind_of_devices() == "GPU" else kinds.RING
            )
        )
    )


def _tpu(address, make_resolver):
    try:
        resolver = make_resolver(tpu=address)
        if address != "local":
            _check_answers(resolver.master())
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    # Any: finding a TPU asks cloud libraries, which have errors of their own.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        rules.refuse("tpu", f"must be a TPU that answers ({reason})", address)


def _check_answers(master):
    """Tries to reach grpc://host:port, where TensorFlow waits without end.

    Raises:
        OSError: Nobody answers.
    """
    address = urllib.parse.urlsplit(master)
    if address.hostname and address.port:
        socket.create_connection(
            (address.hostname, address.port), timeout=_SECONDS_TO_CONNECT
        ).close()


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
