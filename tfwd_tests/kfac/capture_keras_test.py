"""What `tfwd.kfac.capture` asks of Keras, by private names among others.

Checked on Keras 3.10 to 3.15. When a name is gone or means something else,
read Keras' `layers/layer.py` and `models/model.py` before changing the
expectation.
"""

import inspect
import pathlib

import keras
import numpy as np
from keras import layers
from keras import ops

from tfwd.kfac import capture
from tfwd_tests import private_names
from tfwd_tests.kfac import hooking


def test_layers_of_finds_nested_layers_each_once():
    shared = layers.Dense(6, name="shared")
    inner = keras.Sequential([keras.Input((6,)), shared], name="inner")
    x = keras.Input((6,))
    model = keras.Model(x, layers.Dense(2, name="head")(inner(shared(x))))
    found = capture.layers_of(model)
    names = [layer.name for layer in found]
    assert names.count("shared") == 1
    assert {"shared", "head", "inner"} <= set(names)
    assert len(set(map(id, found))) == len(found)


def test_the_variables_of_a_sublayer_are_its_own():
    attention = layers.MultiHeadAttention(2, 3, name="attention")
    x = hooking.inputs_of(2, 4, 6)
    attention(x, x)
    assert capture.own_trainable_variables(attention) == []
    wrapped = layers.TimeDistributed(layers.Dense(3))
    wrapped(x)
    assert capture.own_trainable_variables(wrapped) == []
    dense = wrapped.layer
    assert capture.own_trainable_variables(dense) == [dense.kernel, dense.bias]


def test_frozen_variables_are_not_trainable():
    layer = layers.BatchNormalization()
    layer.build((None, 6))
    assert capture.own_trainable_variables(layer) == [layer.gamma, layer.beta]
    layer.trainable = False
    assert capture.own_trainable_variables(layer) == []


def test_the_compiled_loss_is_what_compile_was_given():
    model = hooking.network()
    assert capture.compiled_loss(model) is None
    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile("sgd", loss)
    assert capture.compiled_loss(model) is loss
    model.compile("sgd", "mse")
    assert capture.compiled_loss(model) == "mse"


class Own(keras.Model):
    """A model whose `call` has no `training`."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def test_a_model_is_called_in_training_mode_if_it_has_one():
    model = hooking.network()
    x = hooking.inputs_of(8, 6)
    trained = hooking.numpy(capture.call(model, x, True))
    assert not np.array_equal(trained, hooking.numpy(model(x, training=False)))
    own = Own()
    np.testing.assert_array_equal(
        hooking.numpy(capture.call(own, x, True)), hooking.numpy(own(x))
    )


def test_a_stored_value_has_the_variables_type_under_mixed_precision():
    layer = layers.Dense(3, dtype="mixed_float16")
    layer.build((None, 6))
    types = []

    def record(layer, linear, activation, inputs):
        types.append(
            keras.backend.standardize_dtype(
                capture.stored_value(layer.kernel).dtype
            )
        )
        types.append(
            keras.backend.standardize_dtype(
                ops.convert_to_tensor(layer.kernel).dtype
            )
        )
        return linear(inputs)

    capture.install(layer, hooking.OWNER)
    with capture.calling_back(record):
        layer(hooking.inputs_of(2, 6))
    assert types == ["float32", "float16"]


def test_private_names_are_where_they_were():
    assert list(
        inspect.signature(keras.layers.Layer._flatten_layers).parameters
    ) == ["self", "include_self", "recursive"]
    assert hooking.network()._call_has_training_arg
    assert not Own()._call_has_training_arg
    assert list(
        inspect.signature(keras.src.backend.get_keras_mask).parameters
    ) == ["x"]
    assert list(
        inspect.signature(keras.src.backend.AutocastScope).parameters
    ) == ["dtype"]
    # `Layer.__call__` finds `call` by the instance, where the hook is.
    source = inspect.getsource(keras.layers.Layer.__call__)
    assert "super().__call__" in source
    operation = inspect.getsource(keras.Operation.__call__)
    assert "self.call" in operation


def test_a_layer_of_a_remat_scope_is_known():
    with keras.RematScope("full"):
        inside = layers.Dense(2)
    assert capture.is_rematerialized(inside)
    assert not capture.is_rematerialized(layers.Dense(2))


def test_a_stateless_scope_is_known():
    with keras.StatelessScope():
        assert capture.in_stateless_scope()
    assert not capture.in_stateless_scope()


def test_loss_weights_of_compile_are_known():
    model = hooking.network()
    assert not capture.has_loss_weights(model)
    model.compile("sgd", "mse")
    assert not capture.has_loss_weights(model)
    model.compile("sgd", "mse", loss_weights=[2.0])
    assert capture.has_loss_weights(model)


# What each file holds of Keras, checked here or in `tensorflow_keras_test.py`,
# and of JAX, checked in `jax_program_test.py`.
PRIVATE_NAMES = {
    "capture.py": {
        "keras.src",
        "_call_has_training_arg",
        "_compile_loss",
        "_flatten_layers",
        "_remat_mode",
        "_user_loss_weights",
    },
    "backend/jax_backend.py": {"_trace"},
    "backend/tensorflow_fit.py": {"_autoconvert_optionals", "_make_function"},
}


def test_private_names_stand_in_the_files_that_say_so():
    folder = pathlib.Path(capture.__file__).parent
    paths = sorted(folder.rglob("*.py"))
    own = set().union(*map(private_names.defined_in, paths))
    found = {
        path.relative_to(folder).as_posix(): private_names.of_file(path, own)
        for path in paths
    }
    assert {name: names for name, names in found.items() if names} == (
        PRIVATE_NAMES
    )
