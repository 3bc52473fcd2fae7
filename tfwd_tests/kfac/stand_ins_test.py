"""What others put on a model or a layer is theirs: it stays, or comes back."""

import threading

import keras
import numpy as np
import pytest

import tfwd
from tfwd.kfac import capture
from tfwd_tests.kfac import training


def own(*arguments, **keyword_arguments):
    return "own"


@pytest.mark.parametrize("name", ["fit", "make_train_function"])
def test_detach_gives_back_an_attribute_of_the_users_own(name):
    model, optimizer = training.mlp(), training.optimizer()
    object.__setattr__(model, name, own)
    optimizer.attach(model)
    optimizer.detach()
    assert vars(model)[name] is own


def test_an_attribute_that_came_after_attach_stays():
    model, optimizer = training.mlp(), training.optimizer()
    optimizer.attach(model)
    for name in ("fit", "make_train_function"):
        object.__setattr__(model, name, own)
    optimizer.detach()
    for name in ("fit", "make_train_function"):
        assert vars(model)[name] is own


@pytest.mark.parametrize("first_leaves_first", [True, False])
def test_two_optimizers_leave_nothing_behind(first_leaves_first):
    model = training.mlp()
    both = [training.optimizer(), training.optimizer()]
    for optimizer in both:
        optimizer.attach(model)
    for optimizer in both if first_leaves_first else both[::-1]:
        optimizer.detach()
    assert "make_train_function" not in vars(model)


def test_a_layer_with_a_call_of_anothers_and_an_activation_is_refused():
    """Its pre-activation stands nowhere; without an activation it is z."""
    model = training.mlp()
    hidden, output = model.layers
    for layer in (hidden, output):
        object.__setattr__(layer, "call", layer.call)
    with pytest.raises(ValueError, match="its `call` is replaced"):
        tfwd.KFAC().attach(model, training.cross_entropy())
    object.__delattr__(hidden, "call")
    tfwd.KFAC().attach(model, training.cross_entropy())


class Waiting(keras.layers.Dense):
    """A Dense that lets one thread wait for another amid its call."""

    def __init__(self, *arguments, **keyword_arguments):
        super().__init__(*arguments, **keyword_arguments)
        self.entered, self.left = threading.Event(), threading.Event()

    def call(self, inputs, training=None):
        if threading.current_thread() is not threading.main_thread():
            self.entered.set()
            assert self.left.wait(60)
        return super().call(inputs, training)


def test_a_recorded_call_changes_the_layer_for_no_other_thread():
    layer = Waiting(3, activation="relu")
    layer.build((None, 4))
    layer.kernel.assign(-np.ones((4, 3)))
    x = keras.ops.ones((2, 4))
    owner, recorded = object(), []
    capture.install(layer, owner)

    def listen(layer, linear, activation, inputs):
        recorded.append(keras.ops.convert_to_numpy(linear(inputs)))
        return activation(recorded[-1])

    def record():
        with capture.listening(listen):
            layer(x)

    thread = threading.Thread(target=record)
    thread.start()
    try:
        assert layer.entered.wait(60)
        # The other thread is within the layer's call now.
        assert layer.activation is keras.activations.relu
        assert layer.get_config()["activation"] == "relu"
        here = keras.ops.convert_to_numpy(layer(x))
    finally:
        layer.left.set()
        thread.join()
        capture.remove(layer, owner)
    np.testing.assert_array_equal(here, np.zeros((2, 3)))
    np.testing.assert_array_equal(recorded, [np.full((2, 3), -4.0)])
