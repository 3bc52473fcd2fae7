"""Hooks come, go, and are seen by nobody: saving, copies, other owners."""

import copy
import inspect
import json

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.kfac import capture
from tfwd_tests.kfac import hooking


def test_without_a_callback_the_output_is_that_without_hooks():
    model = hooking.network()
    x = hooking.inputs_of(8, 6)
    before = [hooking.numpy(model(x)), hooking.numpy(model(x, training=False))]
    hooking.hook_all(model)
    after = [hooking.numpy(model(x)), hooking.numpy(model(x, training=False))]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_owners_share_a_hook_and_one_leaves_it_to_the_other():
    layer = hooking.hooked(layers.Dense(5))
    other = object()
    capture.install(layer, other)
    recorder = hooking.Recorder()
    with capture.calling_back(recorder):
        layer(hooking.inputs_of(3, 6))
        assert len(recorder.calls) == 1
        capture.remove(layer, hooking.OWNER)
        layer(hooking.inputs_of(3, 6))
        assert len(recorder.calls) == 2
        capture.remove(layer, other)
        layer(hooking.inputs_of(3, 6))
        assert len(recorder.calls) == 2
    assert not hooking.has_hook(layer)


def test_removing_twice_or_what_was_never_there_does_nothing():
    layer = hooking.hooked(layers.Dense(5))
    capture.install(layer, hooking.OWNER)
    capture.remove(layer, object())
    assert hooking.has_hook(layer)
    capture.remove(layer, hooking.OWNER)
    capture.remove(layer, hooking.OWNER)
    assert not hooking.has_hook(layer)
    assert layer.call.__func__ is layers.Dense.call


def test_a_call_of_the_instances_own_is_kept_and_not_removed():
    """Somebody else's patch of `layer.call` is not a hook of ours."""
    layer = layers.Dense(5)
    layer.build((None, 6))
    original = layer.call

    def patched(inputs, *args, **kwargs):
        return original(inputs, *args, **kwargs) + 1.0

    object.__setattr__(layer, "call", patched)
    capture.remove(layer, hooking.OWNER)
    assert layer.call is patched
    x = hooking.inputs_of(3, 6)
    plain = hooking.numpy(layer(x))
    capture.install(layer, hooking.OWNER)
    np.testing.assert_array_equal(hooking.numpy(layer(x)), plain)
    capture.remove(layer, hooking.OWNER)
    np.testing.assert_array_equal(hooking.numpy(layer(x)), plain)


def test_a_hooked_model_is_saved_and_loaded_as_if_it_were_not(tmp_path):
    model = hooking.network(layers.LeakyReLU(negative_slope=0.3))
    config = json.dumps(model.get_config())
    x = hooking.inputs_of(8, 6)
    plain = hooking.numpy(model(x))
    hooking.hook_all(model)
    assert json.dumps(model.get_config()) == config
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not any(map(hooking.has_hook, loaded.layers))
    np.testing.assert_array_equal(hooking.numpy(loaded(x)), plain)
    assert all(map(hooking.has_hook, model.layers))


def test_weights_of_a_hooked_model_load_into_one_without_hooks(tmp_path):
    model = hooking.hook_all(hooking.network())
    model.save_weights(tmp_path / "model.weights.h5")
    other = hooking.network()
    other.load_weights(tmp_path / "model.weights.h5")
    x = hooking.inputs_of(8, 6)
    np.testing.assert_array_equal(
        hooking.numpy(other(x)), hooking.numpy(model(x))
    )


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
    model = hooking.hook_all(hooking.network())
    other = duplicate(model)
    assert not any(map(hooking.has_hook, other.layers))
    x = hooking.inputs_of(8, 6)
    np.testing.assert_array_equal(
        hooking.numpy(other(x)), hooking.numpy(model(x))
    )
    recorder = hooking.Recorder()
    with capture.calling_back(recorder):
        other(x)
    assert recorder.calls == []
    for variable in model.variables:
        variable.assign(np.zeros(variable.shape))
    assert np.std(hooking.numpy(other(x))) > 0


def test_a_shallow_copy_of_a_hooked_layer_calls_itself():
    """`copy.copy` shares the variables: both have the same output."""
    layer = hooking.hooked(layers.Dense(5, activation="relu"))
    other = copy.copy(layer)
    x = hooking.inputs_of(3, 6)
    np.testing.assert_array_equal(
        hooking.numpy(other(x)), hooking.numpy(layer(x))
    )


def test_a_hooked_layer_can_be_called_symbolically():
    layer = hooking.hooked(layers.Dense(5, activation="relu"))
    x = keras.Input((6,))
    with capture.calling_back(hooking.Recorder()):
        model = keras.Model(x, layer(x))
    value = hooking.inputs_of(3, 6)
    np.testing.assert_array_equal(
        hooking.numpy(model(value)), hooking.numpy(layer(value))
    )


def test_the_signature_of_call_stays_readable():
    layer = layers.BatchNormalization()
    layer.build((None, 6))
    before = inspect.signature(layer.call)
    capture.install(layer, hooking.OWNER)
    assert inspect.signature(layer.call) == before
    assert layer.call.__name__ == "call"
