"""What others put on a model or a layer is theirs: it stays, or comes back."""

import threading

import keras
import numpy as np
import pytest

import tfwd
from tfwd.kfac import backend
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


def test_detach_gives_back_a_train_function_of_the_users_own():
    """As a model has it that a user trains by a function of his own."""
    model, optimizer = training.mlp(), training.optimizer()
    model.compile(optimizer, training.cross_entropy())
    model.train_function = own
    optimizer.attach(model)
    # K-FAC's own stands in for it.
    assert np.isfinite(training.step(model, *training.examples(8)))
    optimizer.detach()
    assert model.train_function is own
    # Not after `compile`, which forgets it without a K-FAC too.
    optimizer.attach(model)
    model.compile(optimizer, training.cross_entropy())
    assert model.train_function is None
    optimizer.detach()
    assert model.train_function is None


def test_a_train_function_of_the_users_own_trains_by_another_optimizer():
    model, optimizer = training.mlp(), training.optimizer()
    model.compile("sgd", training.cross_entropy())
    model.train_function = own
    optimizer.attach(model)
    model.make_train_function()
    assert model.train_function is own


def test_detach_leaves_a_train_function_that_came_after():
    model, optimizer = training.mlp(), training.optimizer()
    optimizer.attach(model)
    model.train_function = own
    optimizer.detach()
    assert model.train_function is own


def test_fit_on_several_machines_is_refused_until_detach(monkeypatch):
    """Keras' own `fit` fails there before it calls anything of ours."""
    monkeypatch.setattr(backend.current, "num_workers", lambda model: 2)
    model, optimizer = training.mlp(), training.optimizer()
    model.compile(optimizer, training.cross_entropy())
    optimizer.attach(model)
    with pytest.raises(ValueError, match="Received: 2 workers") as error:
        training.fit(model)
    assert "\n" not in str(error.value)
    optimizer.detach()
    assert "fit" not in vars(model)
    assert model.fit.__func__ is keras.Model.fit


def test_a_fit_of_the_users_own_stays_on_several_machines(monkeypatch):
    monkeypatch.setattr(backend.current, "num_workers", lambda model: 2)

    class Model(keras.Sequential):
        def fit(self):
            return "own"

    inputs = keras.Input((training.INPUTS,))
    model = Model([inputs, keras.layers.Dense(training.CLASSES)])
    optimizer = training.optimizer()
    optimizer.attach(model)
    assert model.fit() == "own"
    object.__setattr__(model, "fit", own)
    optimizer.detach()
    optimizer.attach(model)
    assert model.fit() == "own"
    optimizer.detach()
    assert vars(model)["fit"] is own


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

    def callback(layer, linear, activation, inputs):
        recorded.append(keras.ops.convert_to_numpy(linear(inputs)))
        return activation(recorded[-1])

    def record():
        with capture.calling_back(callback):
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
