"""What Keras 3.15 does in `fit` under `tf.distribute`, whatever the optimizer.

An optimizer cannot see any of this. When a test fails, Keras has changed, and
what the README says of it must.
"""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd_tests.optimizers import mirrored_fit


def test_keras_315_fits_an_uneven_last_batch_to_the_mean_of_replica_means():
    """Of 95 examples the last batch has 31: 16 and 15."""
    x, y = mirrored_fit.examples(95)
    actual = mirrored_fit.fit(mirrored_fit.mirrored(), x, y, 32)
    means = x[:32].mean(0) + x[32:64].mean(0)
    means += (x[64:80].mean(0) + x[80:].mean(0)) / 2
    expected = np.array([1.0, -2.0]) - 0.5 * means
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    single = mirrored_fit.linear(
        mirrored_fit.plain_sgd, contextlib.nullcontext()
    )
    single = mirrored_fit.fit(single, x, y, 32)
    assert np.abs(actual - single).max() > 1e-4


REFUSED = {
    "jit_compile": ({"jit_compile": True}, 4),
    "uneven_first_batch": ({}, 5),
}


@pytest.mark.parametrize("name", REFUSED)
def test_keras_315_cannot_fit_on_two_replicas_with(name):
    settings, batch_size = REFUSED[name]
    model = mirrored_fit.mirrored(**settings)
    with pytest.raises(tf.errors.InvalidArgumentError):
        mirrored_fit.fit(model, *mirrored_fit.examples(20), batch_size)


@pytest.mark.many
def test_several_steps_per_execution_work_where_one_device_reduces():
    x, y = mirrored_fit.examples(20)
    one, two = (
        mirrored_fit.fit(mirrored_fit.mirrored(steps_per_execution=n), x, y, 4)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


COLLECTIVE = """
import keras
import numpy as np
import tensorflow as tf
import tfwd

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(tfwd.SGD(0.5), "mse", steps_per_execution=2)
x = np.ones((8, 2), "float32")
try:
    model.fit(x, x[:, :1], batch_size=4, verbose=0)
except tf.errors.InvalidArgumentError as error:
    print("raised", "Placeholder" in str(error))
"""


@pytest.mark.many
def test_keras_315_raises_at_several_steps_per_execution_by_collectives():
    """They are what `MirroredStrategy` chooses for CPUs by itself."""
    (lines,) = outputs_of(COLLECTIVE, [{}])
    assert lines == {"raised": "True"}


WORKER = """
import sys
import keras
import numpy as np
import tensorflow as tf
import tfwd

strategy = tf.distribute.MultiWorkerMirroredStrategy()
worker = strategy.cluster_resolver.task_id
x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")


def model_with(optimizer):
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, use_bias=False)]
    )
    model.layers[0].kernel.assign([[1.0], [-2.0]])
    model.compile(optimizer, "mse")
    return model


def error_of(function):
    try:
        function()
    except ValueError as error:
        return str(error).replace(chr(10), " ")
    return "none"


with strategy.scope():
    model = model_with(tfwd.SGD(0.5, momentum=0.0))
    other = model_with(tfwd.KFAC())
    tfwd.kfac.attach(other)
    model.optimizer.build(model.trainable_variables)


@tf.function
def step(slope):
    def replica_step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(slope * model.layers[0].kernel)
        variables = model.trainable_variables
        model.optimizer.apply(tape.gradient(loss, variables), variables)

    strategy.run(replica_step)


step(tf.constant([[0.25], [0.5]]))
step(tf.constant([[np.nan if worker else 1.0], [1.0]]))
step(tf.constant([[0.25], [0.5]]))
print("weights", *model.get_weights()[0][:, 0])
print("skipped", model.optimizer.skipped_steps.numpy())
print("kfac", error_of(lambda: other.fit(x, y, verbose=0)))
print("keras", error_of(lambda: model.fit(x, y, verbose=0)))
"""


@pytest.mark.many
def test_two_workers_skip_together_and_fit_fails_in_keras_315_and_in_kfac():
    """`fit` fails before it reads anything of an optimizer, so that one that
    is not attached to the model cannot say it more clearly."""
    outputs = on_two_workers(WORKER)
    for lines in outputs:
        # Two workers' gradients, twice: 1 − 0.5·4·0.25 and −2 − 0.5·4·0.5.
        assert lines["weights"] == "0.5 -3.0"
        assert lines["skipped"] == "1"
        assert lines["kfac"] == (
            "`fit` of Keras 3.15 cannot run under "
            "MultiWorkerMirroredStrategy; use a loop of your own or "
            "`python -m tfwd.train --strategy=multi_worker`. "
            "Received: 2 workers"
        )
        assert "unsupported type" in lines["keras"]
        assert "PerReplica" in lines["keras"]


def on_two_workers(program):
    """Returns for each worker what it printed, as `outputs_of` does."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    tasks = [{"type": "worker", "index": index} for index in range(2)]
    configs = [
        {"cluster": {"worker": addresses}, "task": task} for task in tasks
    ]
    return outputs_of(
        program, [{"TF_CONFIG": json.dumps(config)} for config in configs]
    )


def outputs_of(program, settings):
    """Runs a program once per setting of the environment, at the same time.

    Returns:
        For each of them {first word of a line: the rest}.
    """
    root = pathlib.Path(tfwd.__file__).parents[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONPATH": str(root)} | setting,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for setting in settings
    ]
    try:
        outputs = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [
        dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        for text, _ in outputs
    ]
