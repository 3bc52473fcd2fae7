"""Kernel and bias of a layer scaled together, by the graph and by numbers."""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.diagnostics import scale_invariance
from tfwd.diagnostics.scale_invariance import decay_scope
from tfwd_tests.diagnostics import networks

NORMS = {
    "layer": lambda: layers.LayerNormalization(epsilon=1e-12),
    "rms": lambda: layers.RMSNormalization(epsilon=1e-12),
    "group": lambda: layers.GroupNormalization(2, epsilon=1e-12),
    "batch": lambda: layers.BatchNormalization(epsilon=1e-12),
}


def network(*after):
    keras.utils.set_random_seed(0)
    model = networks.stacked(
        (5,), layers.Dense(4, name="first"), *after, layers.Dense(3)
    )
    first = model.get_layer("first")
    first.bias.assign([0.5, -1.0, 0.25, 2.0])
    return model


def found(model):
    return scale_invariance.of_model(model)[0]


def change(model):
    """Returns max |change| of the outputs as kernel and bias are tripled."""
    x = np.random.default_rng(1).normal(size=(6, 5)).astype("float32")
    first, outputs = model.get_layer("first"), []
    for factor in (1.0, 3.0):
        for variable in (first.kernel, first.bias):
            variable.assign(factor * variable)
        output = model(x, training=True)
        outputs.append(keras.ops.convert_to_numpy(output))
    return np.max(np.abs(outputs[1] - outputs[0]))


def scope(model):
    chosen = decay_scope.factors(model, "normalized")
    pairs = zip(model.trainable_variables, chosen, strict=True)
    return {variable.path for variable, factor in pairs if factor}


@pytest.mark.parametrize("norm", NORMS)
def test_kernel_and_bias_before_a_normalization_are_invariant_together(norm):
    model = network(NORMS[norm]())
    assert change(model) < 1e-4
    assert found(model).is_invariant_with_bias is True
    assert found(model).is_invariant is (norm == "batch")
    first = model.get_layer("first")
    assert scope(model) == {first.kernel.path, first.bias.path}


@pytest.mark.parametrize(
    "after",
    (
        lambda: [],
        lambda: [layers.ReLU()],
        lambda: [layers.Activation("tanh"), layers.LayerNormalization()],
        lambda: [layers.Dense(4, bias_initializer="ones"), NORMS["layer"]()],
    ),
    ids=("nothing", "relu", "tanh", "another bias"),
)
def test_what_is_not_undone_is_not_called_so(after):
    model = network(*after())
    assert change(model) > 1e-2
    assert found(model).is_invariant_with_bias is False
    with_one = keras.Sequential([model, NORMS["layer"](), layers.Dense(2)])
    assert model.get_layer("first").kernel.path not in scope(with_one)


@pytest.mark.parametrize("norm", ("layer", "batch"))
def test_two_kernels_and_their_bias_are_invariant_if_each_kernel_is(norm):
    """All three times c are c^2 times the kernels, but c times the bias."""
    keras.utils.set_random_seed(0)
    norms = {"batch": networks.norm(epsilon=1e-12)}
    norms["layer"] = layers.LayerNormalization(axis=[1, 3], epsilon=1e-12)
    separable = layers.SeparableConv2D(4, 3, bias_initializer="ones")
    stack = [separable, norms[norm], layers.GlobalAveragePooling2D()]
    model = networks.stacked((6, 6, 3), *stack, layers.Dense(2))
    x, outputs = networks.images().astype("float32"), []
    for factor in (1.0, 3.0):
        for variable in separable.trainable_variables:
            variable.assign(factor * variable)
        outputs.append(keras.ops.convert_to_numpy(model(x, training=True)))
    changed = np.max(np.abs(outputs[1] - outputs[0])) > 1e-3
    assert changed == (norm == "layer")
    known = [
        one.is_invariant_with_bias for one in scale_invariance.of_model(model)
    ]
    assert known == [not changed, not changed, False]


def test_a_kernel_whose_bias_is_frozen_decays_alone_and_is_not_in_the_scope():
    model = network(NORMS["layer"]())
    model.get_layer("first").bias.trainable = False
    with pytest.raises(ValueError, match="`scope` must select"):
        scope(model)


def test_a_layer_without_a_graph_around_it_is_not_known():
    model = networks.stacked((4, 3), layers.LSTM(2), layers.Dense(2))
    assert found(model).is_invariant_with_bias is None
