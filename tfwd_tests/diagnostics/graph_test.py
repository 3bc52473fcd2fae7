"""What `scale_invariance.graph` asks of Keras, by private names among others.

Checked on Keras 3.10 to 3.15. When a name is gone or means something else,
read Keras' `models/functional.py` and `ops/function.py` before changing the
expectation.
"""

import keras
import pytest
from keras import layers

from tfwd.diagnostics.scale_invariance import graph


def names_of(found):
    return [call.operation.name for call in found.calls]


def test_every_call_comes_after_what_it_takes():
    x = keras.Input((4,))
    y = layers.Dense(4)(x)
    z = layers.Dense(4)(y)
    model = keras.Model(x, layers.Add()([layers.Dense(4)(z), y + z, x]))
    found = graph.of_model(model)
    known = set(found.inputs)
    for call in found.calls:
        assert known.issuperset(call.inputs)
        known |= set(call.outputs)
    assert known.issuperset(found.outputs)
    assert len(found.calls) == 5


def test_a_shared_nested_model_is_inlined_at_each_call():
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="a"), layers.ReLU(name="b")]
    )
    x, y = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([x, y], layers.Add(name="c")([inner(x), inner(y)]))
    found = graph.of_model(model)
    assert sorted(names_of(found)) == ["a", "a", "b", "b", "c"]
    first, second = (c for c in found.calls if c.operation.name == "a")
    assert {*first.inputs, *second.inputs} == set(found.inputs)


def test_inputs_of_a_nested_model_keep_their_places():
    a, b = keras.Input((4,)), keras.Input((4,))
    inner = keras.Model([a, b], layers.Subtract(name="minus")([a, b]))
    x, y = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([x, y], inner([y, x]))
    found = graph.of_model(model)
    assert found.calls[0].inputs == found.inputs[::-1]


def test_training_is_known_of_a_call_and_of_the_model_around_it():
    inner = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization(name="inside")]
    )
    x = keras.Input((4,))
    y = inner(x, training=False)
    y = layers.BatchNormalization(name="off")(y, training=False)
    y = layers.BatchNormalization(name="on")(y, training=True)
    model = keras.Model(x, layers.BatchNormalization(name="open")(y))
    inference = {
        call.operation.name: call.inference
        for call in graph.of_model(model).calls
    }
    expected = {"inside": True, "off": True, "on": False, "open": False}
    assert inference == expected


def test_operations_have_names_and_layers_their_class():
    x = keras.Input((4,))
    y = keras.ops.relu(2 * x) - keras.ops.leaky_relu(-x)
    model = keras.Model(x, layers.ReLU()(y / 3 + x))
    kinds = {call.kind for call in graph.of_model(model).calls}
    names = {"multiply", "relu", "negative", "leaky_relu", "subtract"}
    assert kinds == names | {"divide", "add", layers.ReLU}


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_a_mask_is_an_argument_and_a_model_that_gets_one_is_not_inlined():
    inner = keras.Sequential([keras.Input((None, 3)), layers.Dense(2)])
    x = keras.Input((None,), dtype="int32")
    y = layers.Embedding(5, 3, mask_zero=True)(x)
    y = inner(layers.BatchNormalization()(y))
    calls = {c.kind: c for c in graph.of_model(keras.Model(x, y)).calls}
    (mask,) = calls[keras.src.ops.numpy.NotEqual].outputs
    assert calls[layers.BatchNormalization].inputs[1] is mask
    assert calls[keras.Sequential].inputs[1] is mask


class Overriding(keras.Model):
    def call(self, x, training=None):
        return 2 * super().call(x, training=training)


class Training(keras.Model):
    def train_step(self, data):
        return {}


def test_a_subclass_has_a_graph_unless_it_overrides_call():
    for kind, has_graph in ((Overriding, False), (Training, True)):
        x = keras.Input((4,))
        model = kind(x, layers.Dense(3)(x))
        assert (graph.of_model(model) is not None) == has_graph
        y = keras.Input((4,))
        outer = graph.of_model(keras.Model(y, model(y)))
        (call,) = outer.calls
        assert (call.operation is model) != has_graph
