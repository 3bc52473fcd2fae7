"""What `tfwd.kfac.backend.tensorflow_fit` asks of Keras by private names.

Checked on Keras 3.10 to 3.15. When a name is gone or means something else,
read Keras' `backend/tensorflow/trainer.py` before changing the expectation.
"""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfwd_tests.kfac import training
from tfwd_tests.optimizers import replicas

Trainer = keras.Model


needs_optionals = pytest.mark.skipif(
    not hasattr(Trainer, "_autoconvert_optionals"),
    reason="Before Keras 3.12 no part of a batch may be missing",
)


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("_make_function", "step_function"),
        pytest.param(
            "_autoconvert_optionals", "step_func", marks=needs_optionals
        ),
    ],
)
def test_private_name_takes_what_it_took(name, parameter):
    signature = inspect.signature(getattr(Trainer, name))
    assert list(signature.parameters) == ["self", parameter]


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_function_takes_a_list_of_one_batch_for_an_iterator(run_eagerly):
    model = training.mlp()
    model.compile("sgd", run_eagerly=run_eagerly, jit_compile=False)
    traced = []

    def step(data):
        traced.append(data)
        return {"sum": tf.reduce_sum(data)}

    function = model._make_function(step)
    for batch in ([1.0, 2.0], [3.0, 4.0]):
        outputs = function([tf.constant(batch)])
        assert float(outputs["sum"]) == sum(batch)
    assert len(traced) == (2 if run_eagerly else 1)


def test_a_function_runs_on_every_replica():
    with replicas.strategy().scope():
        model = training.mlp()
        model.compile("sgd", jit_compile=False)

    def step(data):
        context = tf.distribute.get_replica_context()
        return {"rows": data, "replicas": context.num_replicas_in_sync}

    outputs = model._make_function(step)([tf.constant([1.0, 2.0])])
    # Numbers of the first replica, as `fit` reports them.
    rows = outputs["rows"]
    assert int(outputs["replicas"]) == 2
    np.testing.assert_array_equal(rows, [1, 2])


@needs_optionals
def test_an_empty_optional_of_a_batch_is_none():
    model = training.mlp()
    taken = []
    function = model._autoconvert_optionals(taken.append)
    empty = tf.experimental.Optional.empty(tf.TensorSpec([]))
    function((1.0, empty))
    assert taken == [(1.0, None)]
