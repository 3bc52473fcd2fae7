"""Which kernels are weight layers, what they are called, in which order."""

import keras
import pytest
from keras import layers

from tfwd.diagnostics.scale_invariance import weight_layers
from tfwd_tests.diagnostics import networks


def names_of(model):
    return [one.name for one in weight_layers.of_model(model)]


def test_they_are_in_the_order_of_execution_not_of_construction():
    last, first = layers.Dense(2, name="last"), layers.Dense(3, name="first")
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="inner")])
    x = keras.Input((5,))
    model = keras.Model(x, last(inner(first(x))))
    assert names_of(model) == ["first", "inner", "last"]


def test_each_has_the_variables_of_its_layer():
    model = networks.stacked(
        (4,),
        layers.Dense(3, name="with_bias"),
        layers.BatchNormalization(),
        layers.Dense(2, use_bias=False, name="without"),
    )
    first, second = weight_layers.of_model(model)
    assert first.layer is model.get_layer("with_bias")
    assert first.kernel is first.layer.kernel
    assert first.bias is first.layer.bias
    assert second.kernel is model.get_layer("without").kernel
    assert second.bias is None


def test_several_kernels_of_a_layer_are_told_apart_by_their_names():
    model = networks.stacked(
        (6, 6, 3),
        layers.SeparableConv2D(4, 3, name="separable"),
        layers.DepthwiseConv2D(3, name="depthwise"),
    )
    assert names_of(model) == [
        "separable/depthwise_kernel",
        "separable/pointwise_kernel",
        "depthwise",
    ]


def test_names_that_repeat_become_paths():
    x = keras.Input((None,), dtype="int32")
    y = layers.Embedding(5, 3, name="embedding")(x)
    y = layers.LSTM(3, return_sequences=True, name="one")(y)
    model = keras.Model(x, layers.LSTM(2, name="two")(y))
    assert names_of(model) == [
        "embedding",
        "one/lstm_cell/kernel",
        "one/lstm_cell/recurrent_kernel",
        "two/lstm_cell/kernel",
        "two/lstm_cell/recurrent_kernel",
    ]


def test_names_are_unique_where_paths_repeat_too():
    x = keras.Input((3,))
    parts = []
    for _ in range(2):
        y = keras.Input((3,))
        dense = layers.Dense(3, name="dense")
        parts.append(keras.Model(y, dense(y), name=f"part{len(parts)}"))
    model = keras.Model(x, parts[1](parts[0](x)))
    names = names_of(model)
    assert len(set(names)) == len(names) == 2


def test_what_is_frozen_is_no_weight_layer():
    model = networks.stacked((4,), layers.Dense(3), layers.Dense(2, name="b"))
    model.layers[0].trainable = False
    assert names_of(model) == ["b"]


def test_a_shared_layer_is_one():
    dense = layers.Dense(4, name="shared")
    x, y = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([x, y], layers.Add()([dense(x), dense(dense(y))]))
    assert names_of(model) == ["shared"]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.dense = layers.Dense(3, name="dense")

    def call(self, x):
        return self.dense(x)


def test_a_subclassed_model_has_its_layers():
    model = Subclassed()
    model(networks.images((4,)))
    assert names_of(model) == ["dense"]


def test_a_model_that_is_not_built_is_refused():
    model = keras.Sequential([layers.Dense(3)], name="unbuilt")
    with pytest.raises(ValueError) as error:
        weight_layers.of_model(model)
    assert str(error.value) == (
        "`model` must be built: call it, or give it an `Input`. "
        "Received: model=unbuilt"
    )
