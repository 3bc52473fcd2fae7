"""Hooks on layers: what a listener sees, and that nobody else sees a thing.

The private names of Keras that `tfwd.kfac.capture` uses were checked on Keras
3.15.1. When one is gone or means something else, read Keras' `layers/layer.py`
and `models/model.py` before changing the expectation.
"""

import copy
import inspect
import json
import threading

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tfwd.kfac import capture
from tfwd_tests.kfac import compiling

OWNER = object()


class Listener:
    """Records calls and passes them on."""

    def __init__(self):
        self.names = []
        self.calls = []

    def __call__(self, layer, linear, activation, inputs):
        z = linear(inputs)
        self.names.append(layer.name)
        self.calls.append((inputs, z, activation))
        return activation(z)


def inputs_of(*shape):
    return ops.convert_to_tensor(
        np.random.default_rng(0).normal(size=shape).astype("float32")
    )


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def network(activation="relu"):
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation=activation, name="first"),
            layers.BatchNormalization(name="normalization"),
            layers.Dense(4, activation="softmax", name="second"),
        ]
    )


def hooked(layer, owner=OWNER):
    if not layer.built:
        layer.build((None, 6))
    capture.install(layer, owner)
    return layer


def hook_all(model, owner=OWNER):
    for layer in model.layers:
        capture.install(layer, owner)
    return model


def has_hook(layer):
    return "call" in vars(layer)


def fused():
    return {
        "relu": "relu",
        "softmax": "softmax",
        "gelu": keras.activations.gelu,
        "lambda": lambda x: ops.square(x),
        "layer": layers.LeakyReLU(negative_slope=0.3),
        "linear": None,
    }


@pytest.mark.parametrize("name", fused())
def test_a_fused_activation_is_caught_before_it_and_applied_after(name):
    layer = layers.Dense(5, activation=fused()[name], bias_initializer="normal")
    layer.build((None, 6))
    x = inputs_of(3, 6)
    plain = numpy(layer(x))
    activation = layer.activation
    capture.install(layer, OWNER)
    listener = Listener()
    with capture.listening(listener):
        output = layer(x)
    ((inputs, z, applied),) = listener.calls
    np.testing.assert_array_equal(numpy(inputs), numpy(x))
    expected = numpy(x) @ numpy(layer.kernel) + numpy(layer.bias)
    np.testing.assert_allclose(numpy(z), expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(numpy(output), plain)
    np.testing.assert_array_equal(numpy(applied(z)), plain)
    assert layer.activation is activation


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(3, 2, activation="relu"),
        layers.Conv1D(3, 2, activation="tanh", padding="causal"),
        layers.DepthwiseConv2D(2, activation="relu"),
        layers.EinsumDense("ab...,bc->ac...", (5, None), activation="relu"),
        layers.Embedding(9, 4),
        layers.LayerNormalization(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_each_kind_of_layer_gives_the_same_output_hooked(layer):
    shape = (2, 6, 5) if layer.name.startswith("conv1d") else (2, 6, 5, 4)
    x = inputs_of(*shape)
    if isinstance(layer, layers.Embedding):
        x = ops.convert_to_tensor(np.arange(6).reshape(2, 3), dtype="int32")
    if isinstance(layer, layers.EinsumDense):
        layer = layers.EinsumDense("abc,cd->abd", (None, 7), activation="relu")
        x = inputs_of(2, 6, 5)
    plain = numpy(layer(x))
    capture.install(layer, OWNER)
    np.testing.assert_array_equal(numpy(layer(x)), plain)
    listener = Listener()
    with capture.listening(listener):
        output = numpy(layer(x))
    np.testing.assert_array_equal(output, plain)
    ((_, z, activation),) = listener.calls
    np.testing.assert_array_equal(numpy(activation(z)), plain)
    if "relu" in str(getattr(layer, "activation", None)):
        assert numpy(z).min() < 0


def test_without_a_listener_the_output_is_that_without_hooks():
    model = network()
    x = inputs_of(8, 6)
    before = [numpy(model(x)), numpy(model(x, training=False))]
    hook_all(model)
    after = [numpy(model(x)), numpy(model(x, training=False))]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_listener_may_put_something_else_in_place():
    layer = hooked(layers.Dense(5, activation="relu"))

    def shifted(layer, linear, activation, inputs):
        return activation(linear(inputs) + 100.0)

    x = inputs_of(3, 6)
    z = numpy(x) @ numpy(layer.kernel)
    with capture.listening(shifted):
        output = numpy(layer(x))
    np.testing.assert_allclose(output, z + 100.0, rtol=1e-6)
    np.testing.assert_array_equal(numpy(layer(x)) > 0, z > 0)


def test_layers_are_heard_in_the_order_of_their_calls():
    model = hook_all(network())
    listener = Listener()
    with capture.listening(listener):
        model(inputs_of(8, 6))
    assert listener.names == ["first", "normalization", "second"]


def test_a_layer_called_twice_is_heard_twice():
    layer = hooked(layers.Dense(6, activation="relu"))
    listener = Listener()
    x = inputs_of(3, 6)
    with capture.listening(listener):
        output = layer(layer(x))
    (first, _, _), (second, z, activation) = listener.calls
    np.testing.assert_array_equal(numpy(first), numpy(x))
    np.testing.assert_array_equal(numpy(activation(z)), numpy(output))
    assert not np.array_equal(numpy(second), numpy(first))


@pytest.mark.parametrize("training", [True, False])
def test_training_and_other_arguments_reach_the_layer(training):
    layer = layers.BatchNormalization()
    layer.build((None, 6))
    x = inputs_of(8, 6)
    state = [v.value for v in layer.variables]
    plain = numpy(layer(x, training=training))
    for variable, value in zip(layer.variables, state, strict=True):
        variable.assign(value)
    capture.install(layer, OWNER)
    with capture.listening(Listener()):
        output = numpy(layer(x, training=training))
    np.testing.assert_array_equal(output, plain)


def test_inputs_may_be_positional_or_named():
    layer = hooked(layers.Dense(5, activation="relu"))
    listener = Listener()
    x = inputs_of(3, 6)
    plain = numpy(layer(inputs=x))
    with capture.listening(listener):
        outputs = [numpy(layer(x)), numpy(layer(inputs=x))]
    for output in outputs:
        np.testing.assert_array_equal(output, plain)
    assert len(listener.calls) == 2


def test_the_mask_of_the_input_is_seen_and_passed_on():
    embedding = layers.Embedding(9, 4, mask_zero=True)
    layer = layers.Dense(3)
    ids = ops.convert_to_tensor([[1, 2, 0], [3, 0, 0]], dtype="int32")
    layer(embedding(ids))
    capture.install(layer, OWNER)
    seen = []

    def listen(layer, linear, activation, inputs):
        seen.append(capture.mask_of(inputs))
        return activation(linear(inputs))

    with capture.listening(listen):
        output = layer(embedding(ids))
    expected = [[True, True, False], [True, False, False]]
    np.testing.assert_array_equal(numpy(seen[0]), expected)
    np.testing.assert_array_equal(numpy(capture.mask_of(output)), expected)
    assert capture.mask_of(inputs_of(2, 3)) is None


def test_a_compiled_model_is_heard_while_it_is_traced():
    model = hook_all(network())
    x = inputs_of(8, 6)
    plain = numpy(model(x))
    for way in compiling.WAYS:
        listener = Listener()

        def call(x, listener=listener):
            with capture.listening(listener):
                return model(x, training=False)

        output = numpy(compiling.run(way, call, x))
        assert listener.names == ["first", "normalization", "second"]
        np.testing.assert_allclose(output, plain, rtol=0, atol=1e-6)


def test_two_owners_share_a_hook_and_one_leaves_it_to_the_other():
    layer = hooked(layers.Dense(5))
    other = object()
    capture.install(layer, other)
    listener = Listener()
    with capture.listening(listener):
        layer(inputs_of(3, 6))
        assert len(listener.calls) == 1
        capture.remove(layer, OWNER)
        layer(inputs_of(3, 6))
        assert len(listener.calls) == 2
        capture.remove(layer, other)
        layer(inputs_of(3, 6))
        assert len(listener.calls) == 2
    assert not has_hook(layer)


def test_removing_twice_or_what_was_never_there_does_nothing():
    layer = hooked(layers.Dense(5))
    capture.install(layer, OWNER)
    capture.remove(layer, object())
    assert has_hook(layer)
    capture.remove(layer, OWNER)
    capture.remove(layer, OWNER)
    assert not has_hook(layer)
    assert layer.call.__func__ is layers.Dense.call


def test_a_call_of_the_instances_own_is_kept_and_not_removed():
    """Somebody else's patch of `layer.call` is not a hook of ours."""
    layer = layers.Dense(5)
    layer.build((None, 6))
    original = layer.call

    def patched(inputs, *args, **kwargs):
        return original(inputs, *args, **kwargs) + 1.0

    object.__setattr__(layer, "call", patched)
    capture.remove(layer, OWNER)
    assert layer.call is patched
    x = inputs_of(3, 6)
    plain = numpy(layer(x))
    capture.install(layer, OWNER)
    np.testing.assert_array_equal(numpy(layer(x)), plain)
    capture.remove(layer, OWNER)
    np.testing.assert_array_equal(numpy(layer(x)), plain)


@pytest.mark.parametrize("where", ["linear", "listener"])
def test_an_exception_restores_the_activation_and_the_listener(where):
    layer = hooked(layers.Dense(5, activation="relu"))
    activation = layer.activation
    x = inputs_of(3, 6)
    plain = numpy(layer(x))

    def fail(layer, linear, activation, inputs):
        if where == "linear":
            # Past the checks of `Layer.__call__`: six inputs are expected.
            return linear(inputs_of(3, 7))
        raise RuntimeError("a listener failed")

    with pytest.raises(Exception, match=".") as error:
        with capture.listening(fail):
            layer(x)
    assert isinstance(error.value, RuntimeError) == (
        where == "listener"
    ) or "failed" not in str(error.value)
    assert layer.activation is activation
    assert vars(layer)["activation"] is activation
    np.testing.assert_array_equal(numpy(layer(x)), plain)


def test_listeners_nest():
    layer = hooked(layers.Dense(5))
    outer, inner = Listener(), Listener()
    x = inputs_of(3, 6)
    with capture.listening(outer):
        layer(x)
        with capture.listening(inner):
            layer(x)
        with capture.listening(None):
            layer(x)
        layer(x)
    layer(x)
    assert (len(outer.calls), len(inner.calls)) == (2, 1)


def test_another_thread_does_not_hear():
    layer = hooked(layers.Dense(5, activation="relu"))
    x = inputs_of(3, 6)
    plain = numpy(layer(x))
    here, there = Listener(), Listener()
    results = {}

    def silent():
        results["silent"] = numpy(layer(x))

    def loud():
        with capture.listening(there):
            results["loud"] = numpy(layer(x))

    with capture.listening(here):
        for target in (silent, loud):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        assert len(here.calls) == 0
        layer(x)
    assert (len(here.calls), len(there.calls)) == (1, 1)
    np.testing.assert_array_equal(results["silent"], plain)
    np.testing.assert_array_equal(results["loud"], plain)


def test_a_hooked_model_is_saved_and_loaded_as_if_it_were_not(tmp_path):
    model = network(layers.LeakyReLU(negative_slope=0.3))
    config = json.dumps(model.get_config())
    x = inputs_of(8, 6)
    plain = numpy(model(x))
    hook_all(model)
    assert json.dumps(model.get_config()) == config
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not any(map(has_hook, loaded.layers))
    np.testing.assert_array_equal(numpy(loaded(x)), plain)
    assert all(map(has_hook, model.layers))


def test_weights_of_a_hooked_model_load_into_one_without_hooks(tmp_path):
    model = hook_all(network())
    model.save_weights(tmp_path / "model.weights.h5")
    other = network()
    other.load_weights(tmp_path / "model.weights.h5")
    x = inputs_of(8, 6)
    np.testing.assert_array_equal(numpy(other(x)), numpy(model(x)))


def cloned(model):
    copied = keras.models.clone_model(model)
    copied.set_weights(model.get_weights())
    return copied


def copied_layer_by_layer(model):
    return keras.Sequential(
        [keras.Input((6,)), *(copy.deepcopy(la) for la in model.layers)]
    )


@pytest.mark.parametrize(
    "duplicate", [cloned, copy.deepcopy, copied_layer_by_layer]
)
def test_a_copy_carries_no_hook_and_stands_on_its_own(duplicate):
    model = hook_all(network())
    other = duplicate(model)
    assert not any(map(has_hook, other.layers))
    x = inputs_of(8, 6)
    np.testing.assert_array_equal(numpy(other(x)), numpy(model(x)))
    listener = Listener()
    with capture.listening(listener):
        other(x)
    assert listener.calls == []
    for variable in model.variables:
        variable.assign(np.zeros(variable.shape))
    assert np.std(numpy(other(x))) > 0


def test_a_shallow_copy_of_a_hooked_layer_calls_itself():
    """`copy.copy` shares the variables: both have the same output."""
    layer = hooked(layers.Dense(5, activation="relu"))
    other = copy.copy(layer)
    x = inputs_of(3, 6)
    np.testing.assert_array_equal(numpy(other(x)), numpy(layer(x)))


def test_a_hooked_layer_can_be_called_symbolically():
    layer = hooked(layers.Dense(5, activation="relu"))
    x = keras.Input((6,))
    with capture.listening(Listener()):
        model = keras.Model(x, layer(x))
    value = inputs_of(3, 6)
    np.testing.assert_array_equal(numpy(model(value)), numpy(layer(value)))


def test_the_signature_of_call_stays_readable():
    layer = layers.BatchNormalization()
    layer.build((None, 6))
    before = inspect.signature(layer.call)
    capture.install(layer, OWNER)
    assert inspect.signature(layer.call) == before
    assert layer.call.__name__ == "call"


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
    x = inputs_of(2, 4, 6)
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
    model = network()
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
    model = network()
    x = inputs_of(8, 6)
    trained = numpy(capture.call_for_training(model, x))
    assert not np.array_equal(trained, numpy(model(x, training=False)))
    own = Own()
    np.testing.assert_array_equal(
        numpy(capture.call_for_training(own, x)), numpy(own(x))
    )


def test_a_stored_value_has_the_variables_type_under_mixed_precision():
    layer = layers.Dense(3, dtype="mixed_float16")
    layer.build((None, 6))
    types = []

    def listen(layer, linear, activation, inputs):
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

    capture.install(layer, OWNER)
    with capture.listening(listen):
        layer(inputs_of(2, 6))
    assert types == ["float32", "float16"]


def test_keras_is_of_the_version_that_was_checked():
    assert keras.__version__.startswith("3.15.")


def test_private_names_are_where_they_were():
    assert list(
        inspect.signature(keras.layers.Layer._flatten_layers).parameters
    ) == ["self", "include_self", "recursive"]
    assert network()._call_has_training_arg
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
