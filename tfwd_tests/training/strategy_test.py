"""Strategies: devices, workers, and batches that suit them."""

import ast
import pathlib
import socket
import subprocess
import sys

import pytest
import tensorflow as tf

from tfwd.data import batches
from tfwd.training.config import settings as settings_lib
from tfwd.training.distributed import strategy as strategy_lib

ROOT = pathlib.Path(__file__).parents[2]


def create(strategy, **flags):
    return strategy_lib.create(
        settings_lib.Settings(strategy=strategy, **flags).distribution
    )


@pytest.mark.parametrize(
    ("name", "flags", "replicas"),
    [
        ("default", {}, 1),
        ("one_device", {}, 1),
        ("mirrored", {"num_devices": 1}, 1),
        ("mirrored", {"num_devices": 2}, 2),
        ("mirrored", {"virtual_cpus": 2}, 2),
    ],
)
def test_strategy_has_the_replicas_asked_for(name, flags, replicas):
    made = create(name, **flags)
    assert made.num_replicas_in_sync == replicas
    assert strategy_lib.num_workers(made) == 1
    assert strategy_lib.is_chief(made)
    assert strategy_lib.shard(made) == batches.Shard(replicas, 0, replicas)


def test_one_device_strategy_is_one_device():
    made = create("one_device")
    assert isinstance(made, tf.distribute.OneDeviceStrategy)


def test_devices_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="`--num_devices` must be at most"):
        create("mirrored", num_devices=1000)


def test_cpu_cannot_be_split_after_tensorflow_started():
    tf.config.list_logical_devices()
    with pytest.raises(ValueError, match="`--virtual_cpus` must be set before"):
        create("mirrored", virtual_cpus=1000)


def test_parameter_servers_are_refused_with_the_reason():
    with pytest.raises(ValueError, match="updates there are asynchronous"):
        settings_lib.Settings(strategy="parameter_server")


WORKER = """
import sys

import tensorflow as tf

from tfwd.training.config import settings
from tfwd.training.distributed import strategy as strategy_lib

flags = settings.Settings(
    strategy="multi_worker",
    worker_hosts=sys.argv[1],
    task_index=int(sys.argv[2]),
)
strategy = strategy_lib.create(flags.distribution)
shard = strategy_lib.shard(strategy)


@tf.function
def total(number):
    return strategy.reduce("SUM", strategy.run(tf.identity, [number]), None)


# Prints one literal, whatever TensorFlow says besides.
print(
    {
        "again": strategy_lib.create(flags.distribution) is strategy,
        "chief": strategy_lib.is_chief(strategy),
        "workers": strategy_lib.num_workers(strategy),
        "shard": (shard.num_replicas, shard.first, shard.count),
        "total": float(total(tf.constant(10.0 ** shard.first))),
    }
)
"""


@pytest.mark.many
def test_two_workers_add_up_their_numbers():
    sockets = [socket.create_server(("localhost", 0)) for _ in range(2)]
    hosts = ",".join(f"localhost:{s.getsockname()[1]}" for s in sockets)
    for each in sockets:
        each.close()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, hosts, str(index)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    for index, worker in enumerate(workers):
        out, err = worker.communicate(timeout=120)
        assert worker.returncode == 0, err
        assert ast.literal_eval(out) == {
            "again": True,
            "chief": index == 0,
            "workers": 2,
            "shard": (2, index, 1),
            "total": 11.0,
        }


@pytest.mark.parametrize("index", [0, 1, 2])
def test_chief_of_a_tf_config_comes_before_its_workers(index):
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": ["a:1", "b:2"], "chief": ["c:3"]}),
        task_type="worker" if index else "chief",
        task_id=max(index - 1, 0),
    )

    class Unconnected(tf.distribute.MultiWorkerMirroredStrategy):
        """Does not wait for the others."""

        cluster_resolver = resolver

        def __init__(self):
            pass

    made = Unconnected()
    assert strategy_lib.num_workers(made) == 3
    assert strategy_lib.is_chief(made) == (index == 0)


@pytest.mark.parametrize(
    ("tpu", "reason"),
    [
        (None, "NotFoundError: TPUs not found"),
        ("grpc://localhost:1", "Connection.*Error"),
    ],
)
def test_tpu_that_does_not_answer_is_refused(tpu, reason):
    with pytest.raises(ValueError, match=reason) as error:
        create("tpu", tpu=tpu)
    assert str(error.value).startswith("`--tpu` must be a TPU that answers (")
    assert str(error.value).endswith(f". Received: --tpu={tpu or 'local'}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Could not find TPU"),
        ImportError("googleapiclient must be installed"),
        OSError("no metadata server\nwhere there should be one"),
        tf.errors.UnavailableError(None, None, "TPU is preempted"),
        type("HttpError", (Exception,), {})("403"),
    ],
)
def test_tpu_that_is_not_found_is_refused_with_the_reason(error):
    def resolver(tpu):
        raise error

    settings = settings_lib.Settings(strategy="tpu", tpu="mine")
    with pytest.raises(ValueError, match="`--tpu` must be") as refusal:
        strategy_lib.create(settings.distribution, tpu_resolver=resolver)
    text = str(refusal.value)
    assert f"({type(error).__name__}: {str(error).splitlines()[0]})" in text
    assert "\n" not in text


@pytest.mark.parametrize("tpu", [None, "mine"])
def test_tpu_is_connected_and_started_before_its_strategy(monkeypatch, tpu):
    calls = []
    server = socket.create_server(("localhost", 0))

    class Resolver:
        def __init__(self, tpu):
            calls.append(("resolver", tpu))

        def master(self):
            return f"grpc://localhost:{server.getsockname()[1]}"

    def note(name):
        def called(resolver):
            assert isinstance(resolver, Resolver)
            calls.append(name)
            return name

        return called

    monkeypatch.setattr(
        tf.config, "experimental_connect_to_cluster", note("connect")
    )
    monkeypatch.setattr(
        tf.tpu.experimental, "initialize_tpu_system", note("initialize")
    )
    monkeypatch.setattr(tf.distribute, "TPUStrategy", note("strategy"))
    settings = settings_lib.Settings(strategy="tpu", tpu=tpu)
    with server:
        made = strategy_lib.create(settings.distribution, tpu_resolver=Resolver)
    assert made == "strategy"
    assert calls == [
        ("resolver", tpu or "local"),
        *(["connect"] if tpu else []),
        "initialize",
        "strategy",
    ]


@pytest.mark.parametrize(
    ("batch_size", "examples", "rule"),
    [
        (129, 128, "at most the 128 training examples"),
        (5, 128, "divisible by the 2 replicas"),
        (4, 129, "must not leave 1 of 129"),
    ],
)
def test_batches_that_do_not_fit_are_refused(batch_size, examples, rule):
    two = create("mirrored", num_devices=2)
    with pytest.raises(ValueError, match=rule) as error:
        strategy_lib.check_batches(two, batch_size, examples)
    assert f"Received: --batch_size={batch_size}" in str(error.value)


@pytest.mark.parametrize(("batch_size", "examples"), [(4, 130), (128, 128)])
def test_batches_that_fit_are_taken(batch_size, examples):
    two = create("mirrored", num_devices=2)
    strategy_lib.check_batches(two, batch_size, examples)
