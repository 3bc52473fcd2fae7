"""Activations of models with inner models and layers called twice."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfwd import data
from tfwd.training.config import settings as settings_lib
from tfwd.training.loop import activations
from tfwd.training.loop import first_nonfinite
from tfwd.training.loop import step as step_lib
from tfwd.training.setup import limits


def nested():
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, "relu", name="hidden")],
        name="inner",
    )
    shared = layers.Dense(6, name="shared")
    inputs = keras.Input((6,))
    x = inner(shared(shared(inputs)))
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


def test_every_call_has_one_and_the_layers_of_inner_models_none():
    names = [name for name, _ in activations.named(nested())]
    assert names[1:] == ["shared", "shared", "inner", "head"]


class AroundItsGraph(keras.Model):
    def call(self, x):
        return super().call(x)


def test_model_whose_call_goes_around_its_graph_has_its_outputs_alone():
    plain = nested()
    model = AroundItsGraph(plain.inputs, plain.outputs)
    ((_, tensor),) = activations.named(model)
    assert tensor.shape == (None, 3)


def test_memory_is_asked_for_every_call(monkeypatch):
    settings = settings_lib.Settings(batch_size=10, eval_batch_size=10)
    monkeypatch.setattr(limits, "memory", lambda: 10 * 6 * 4)
    limits.check_batches(settings, nested())
    monkeypatch.setattr(limits, "memory", lambda: 10 * 6 * 4 - 1)
    with pytest.raises(ValueError, match="`--batch_size` must .* memory"):
        limits.check_batches(settings, nested())


def test_inner_model_that_makes_no_number_is_named():
    model = nested()
    batch = data.Batch(
        tf.ones((2, 6)),
        tf.constant([0, 2]),
        tf.constant([0.5, 0.5]),
        tf.zeros(2, tf.uint32),
    )
    model.get_layer("shared").set_weights([np.eye(6), np.zeros(6)])
    assert first_nonfinite.first_tensor(step_lib.Step(model), batch) is None
    huge = [np.full((6, 4), 3e38), np.zeros(4)]
    model.get_layer("inner").set_weights(huge)
    name = first_nonfinite.first_tensor(step_lib.Step(model), batch)
    assert name == "output of inner"
