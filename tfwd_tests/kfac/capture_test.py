"""What a callback sees of a layer, and that the layer's output stays.

Covers `recording`.
"""

import threading

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tfwd.kfac import capture
from tfwd_tests.kfac import compiling
from tfwd_tests.kfac import hooking


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
    x = hooking.inputs_of(3, 6)
    plain = hooking.numpy(layer(x))
    activation = layer.activation
    capture.install(layer, hooking.OWNER)
    recorder = hooking.Recorder()
    with capture.calling_back(recorder):
        output = layer(x)
    ((inputs, z, applied),) = recorder.calls
    np.testing.assert_array_equal(hooking.numpy(inputs), hooking.numpy(x))
    expected = hooking.numpy(x) @ hooking.numpy(layer.kernel) + hooking.numpy(
        layer.bias
    )
    np.testing.assert_allclose(hooking.numpy(z), expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(hooking.numpy(output), plain)
    np.testing.assert_array_equal(hooking.numpy(applied(z)), plain)
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
    x = hooking.inputs_of(*shape)
    if isinstance(layer, layers.Embedding):
        x = ops.convert_to_tensor(np.arange(6).reshape(2, 3), dtype="int32")
    if isinstance(layer, layers.EinsumDense):
        layer = layers.EinsumDense("abc,cd->abd", (None, 7), activation="relu")
        x = hooking.inputs_of(2, 6, 5)
    plain = hooking.numpy(layer(x))
    capture.install(layer, hooking.OWNER)
    np.testing.assert_array_equal(hooking.numpy(layer(x)), plain)
    recorder = hooking.Recorder()
    with capture.calling_back(recorder):
        output = hooking.numpy(layer(x))
    np.testing.assert_array_equal(output, plain)
    ((_, z, activation),) = recorder.calls
    np.testing.assert_array_equal(hooking.numpy(activation(z)), plain)
    if "relu" in str(getattr(layer, "activation", None)):
        assert hooking.numpy(z).min() < 0


def test_a_callback_may_put_something_else_in_place():
    layer = hooking.hooked(layers.Dense(5, activation="relu"))

    def shifted(layer, linear, activation, inputs):
        return activation(linear(inputs) + 100.0)

    x = hooking.inputs_of(3, 6)
    z = hooking.numpy(x) @ hooking.numpy(layer.kernel)
    with capture.calling_back(shifted):
        output = hooking.numpy(layer(x))
    np.testing.assert_allclose(output, z + 100.0, rtol=1e-6)
    np.testing.assert_array_equal(hooking.numpy(layer(x)) > 0, z > 0)


def test_layers_are_recorded_in_the_order_of_their_calls():
    model = hooking.hook_all(hooking.network())
    recorder = hooking.Recorder()
    with capture.calling_back(recorder):
        model(hooking.inputs_of(8, 6))
    assert recorder.names == ["first", "normalization", "second"]


def test_a_layer_called_twice_is_recorded_twice():
    layer = hooking.hooked(layers.Dense(6, activation="relu"))
    recorder = hooking.Recorder()
    x = hooking.inputs_of(3, 6)
    with capture.calling_back(recorder):
        output = layer(layer(x))
    (first, _, _), (second, z, activation) = recorder.calls
    np.testing.assert_array_equal(hooking.numpy(first), hooking.numpy(x))
    np.testing.assert_array_equal(
        hooking.numpy(activation(z)), hooking.numpy(output)
    )
    assert not np.array_equal(hooking.numpy(second), hooking.numpy(first))


@pytest.mark.parametrize("training", [True, False])
def test_training_and_other_arguments_reach_the_layer(training):
    layer = layers.BatchNormalization()
    layer.build((None, 6))
    x = hooking.inputs_of(8, 6)
    state = [v.value for v in layer.variables]
    plain = hooking.numpy(layer(x, training=training))
    for variable, value in zip(layer.variables, state, strict=True):
        variable.assign(value)
    capture.install(layer, hooking.OWNER)
    with capture.calling_back(hooking.Recorder()):
        output = hooking.numpy(layer(x, training=training))
    np.testing.assert_array_equal(output, plain)


def test_inputs_may_be_positional_or_named():
    layer = hooking.hooked(layers.Dense(5, activation="relu"))
    recorder = hooking.Recorder()
    x = hooking.inputs_of(3, 6)
    plain = hooking.numpy(layer(inputs=x))
    with capture.calling_back(recorder):
        outputs = [hooking.numpy(layer(x)), hooking.numpy(layer(inputs=x))]
    for output in outputs:
        np.testing.assert_array_equal(output, plain)
    assert len(recorder.calls) == 2


def test_the_mask_of_the_input_is_seen_and_passed_on():
    embedding = layers.Embedding(9, 4, mask_zero=True)
    layer = layers.Dense(3)
    ids = ops.convert_to_tensor([[1, 2, 0], [3, 0, 0]], dtype="int32")
    layer(embedding(ids))
    capture.install(layer, hooking.OWNER)
    seen = []

    def record(layer, linear, activation, inputs):
        seen.append(capture.mask_of(inputs))
        return activation(linear(inputs))

    with capture.calling_back(record):
        output = layer(embedding(ids))
    expected = [[True, True, False], [True, False, False]]
    np.testing.assert_array_equal(hooking.numpy(seen[0]), expected)
    np.testing.assert_array_equal(
        hooking.numpy(capture.mask_of(output)), expected
    )
    assert capture.mask_of(hooking.inputs_of(2, 3)) is None


def test_a_compiled_model_is_recorded_while_it_is_traced():
    model = hooking.hook_all(hooking.network())
    x = hooking.inputs_of(8, 6)
    plain = hooking.numpy(model(x))
    for way in compiling.WAYS:
        recorder = hooking.Recorder()

        def call(x, recorder=recorder):
            with capture.calling_back(recorder):
                return model(x, training=False)

        output = hooking.numpy(compiling.run(way, call, x))
        assert recorder.names == ["first", "normalization", "second"]
        np.testing.assert_allclose(output, plain, rtol=0, atol=1e-6)


class Failing(layers.Dense):
    def call(self, inputs):
        raise RuntimeError("the call failed")


@pytest.mark.parametrize("where", ["call", "callback"])
def test_an_exception_restores_the_activation_and_the_callback(where):
    kind = Failing if where == "call" else layers.Dense
    layer = hooking.hooked(kind(5, activation="relu"))
    activation = layer.activation

    def record(layer, linear, activation, inputs):
        z = linear(inputs)
        raise RuntimeError(f"the callback failed at {z}")

    with pytest.raises(RuntimeError, match=f"the {where} failed"):
        with capture.calling_back(record):
            layer(hooking.inputs_of(3, 6))
    assert vars(layer)["activation"] is activation
    assert capture.callback_now() is None


def test_callbacks_nest():
    layer = hooking.hooked(layers.Dense(5))
    outer, inner = hooking.Recorder(), hooking.Recorder()
    x = hooking.inputs_of(3, 6)
    with capture.calling_back(outer):
        layer(x)
        with capture.calling_back(inner):
            layer(x)
        with capture.calling_back(None):
            layer(x)
        layer(x)
    layer(x)
    assert (len(outer.calls), len(inner.calls)) == (2, 1)


def test_another_thread_has_no_callback():
    layer = hooking.hooked(layers.Dense(5, activation="relu"))
    x = hooking.inputs_of(3, 6)
    plain = hooking.numpy(layer(x))
    here, there = hooking.Recorder(), hooking.Recorder()
    results = {}

    def silent():
        results["silent"] = hooking.numpy(layer(x))

    def loud():
        with capture.calling_back(there):
            results["loud"] = hooking.numpy(layer(x))

    with capture.calling_back(here):
        for target in (silent, loud):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        assert len(here.calls) == 0
        layer(x)
    assert (len(here.calls), len(there.calls)) == (1, 1)
    np.testing.assert_array_equal(results["silent"], plain)
    np.testing.assert_array_equal(results["loud"], plain)
