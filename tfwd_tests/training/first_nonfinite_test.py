"""The first tensor that is no number is named, in the order of a step."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tfwd import data
from tfwd import models
from tfwd.training.loop import first_nonfinite
from tfwd.training.loop import recurrent_state
from tfwd.training.loop import step as step_lib
from tfwd_tests.training import looping


def network(activation="tanh"):
    return keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(2, name="lower", kernel_initializer="ones"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(
                1,
                name="middle",
                activation=activation,
                kernel_initializer="ones",
            ),
            keras.layers.Dense(3, name="logits"),
        ]
    )


def a_batch(images=((1.0, 2.0), (3.0, 5.0))):
    return data.Batch(
        tf.constant(images),
        tf.constant([0, 2]),
        tf.constant([0.5, 0.5]),
        tf.zeros(2, tf.uint32),
    )


def test_nothing_is_named_in_a_step_that_is_finite_and_nothing_changes():
    model = network()
    before = model.get_weights()
    assert first_nonfinite.first_tensor(step_lib.Step(model), a_batch()) is None
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weight_is_named_before_what_it_spoils(bad):
    model = network()
    model.get_layer("middle").bias.assign([bad])
    name = first_nonfinite.first_tensor(step_lib.Step(model), a_batch())
    assert name == f"variable {model.get_layer('middle').bias.path}"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_input_is_named_before_what_it_spoils(bad):
    batch = a_batch([[1.0, 2.0], [3.0, bad]])
    assert (
        first_nonfinite.first_tensor(step_lib.Step(network()), batch)
        == "inputs"
    )


def test_inputs_are_those_that_the_device_has_finished():
    def finish(batch, training):
        return batch._replace(inputs=batch.inputs / 0)

    step = step_lib.Step(network(), finish=finish)
    assert first_nonfinite.first_tensor(step, a_batch()) == "inputs"


@pytest.mark.parametrize("layer", ["lower", "middle", "logits"])
def test_overflow_is_named_by_its_layer(layer):
    model = network(activation=None)
    # Finite, and beyond float32's 3.4e38 when two products are summed.
    kernel = model.get_layer(layer).kernel
    kernel.assign(3e38 * np.ones(kernel.shape))
    model.get_layer(layer).bias.assign([3e38] * kernel.shape[1])
    name = first_nonfinite.first_tensor(step_lib.Step(model), a_batch())
    assert name == f"output of {layer}"


def test_infinite_gradient_of_a_finite_loss_is_named():
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(1, activation=ops.sqrt, name="root"),
            keras.layers.Dense(3, name="logits"),
        ]
    )
    # The root of 0, whose slope is infinite.
    model.get_layer("root").kernel.assign([[1.0], [0.0]])
    model.get_layer("root").bias.assign([-1.0])
    name = first_nonfinite.first_tensor(step_lib.Step(model), a_batch())
    assert name == f"gradient of {model.get_layer('root').kernel.path}"


@pytest.mark.parametrize("replicas", [1, 2])
def test_carried_state_is_that_of_the_replica(replicas):
    strategy = looping.mirrored(replicas)
    with strategy.scope():
        model = models.build(
            "lstm", (None,), 5, hidden_units=3, hidden_layers=1
        )
    state = recurrent_state.RecurrentState(strategy, model, 2 * replicas)
    states = np.zeros((2, 2 * replicas, 3), np.float32)
    states[1, -1, 0] = np.nan
    state.assign(list(states))
    step = step_lib.Step(model, recurrent_state=state)
    tokens = tf.constant([[1, 2], [3, 4]])
    batch = data.Batch(
        tokens, tokens, tf.fill((2, 2), 0.25), tf.zeros(2, tf.uint32)
    )
    names = [
        first_nonfinite.first_tensor(step, batch, replica)
        for replica in range(replicas)
    ]
    assert names == [None] * (replicas - 1) + ["output of lstm1_c"]


@pytest.mark.parametrize("replicas", [1, 2])
def test_variables_of_replicas_are_looked_at(replicas):
    with looping.mirrored(replicas).scope():
        model = network()
    step = step_lib.Step(model)
    assert first_nonfinite.first_tensor(step, a_batch()) is None
    kernel = model.get_layer("lower").kernel
    kernel.assign(np.full((2, 2), np.nan))
    name = first_nonfinite.first_tensor(step, a_batch())
    assert name == f"variable {kernel.path}"
