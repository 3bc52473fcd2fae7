"""Which variables decay in each scope, and that they do."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import tfwd
from tfwd.diagnostics.scale_invariance import decay_scope
from tfwd.optimizers import selection
from tfwd_tests.diagnostics import networks
from tfwd_tests.models import examining


def paths_in(model, scope):
    chosen = decay_scope.factors(model, scope)
    return {
        variable.path
        for variable, factor in zip(
            model.trainable_variables, chosen, strict=True
        )
        if factor
    }


@functools.cache
def resnet():
    """The form of Zhang et al. 2019; its variables may be assigned to."""
    return tfwd.models.build("resnet20", (8, 8, 3), 4, width=1 / 8)


def variables_of(model, *names):
    return {
        v.path for n in names for v in model.get_layer(n).trainable_variables
    }


def test_the_scopes_of_a_residual_network_are_wd_conv_and_wd_fc():
    model = resnet()
    convolutions = [
        layer.name for layer in examining.layers_of(model, layers.Conv2D)
    ]
    assert paths_in(model, "normalized") == variables_of(model, *convolutions)
    assert paths_in(model, "final") == variables_of(model, "logits")
    every = {variable.path for variable in model.trainable_variables}
    assert paths_in(model, "all") == every
    assert paths_in(model, "none") == set()


def test_the_normalization_itself_is_in_no_scope_but_all():
    model = networks.stacked(
        (4,), layers.Dense(3), networks.norm(name="norm"), layers.Dense(2)
    )
    inside = paths_in(model, "normalized") | paths_in(model, "final")
    outside = {v.path for v in model.trainable_variables} - inside
    assert outside == variables_of(model, "norm") and len(outside) == 2


def test_final_layers_are_those_before_each_output():
    x = keras.Input((4,))
    y = layers.Dense(4, name="trunk")(x)
    left = layers.Dense(3, activation="softmax", name="left")(y)
    right = layers.Dense(2, name="right")(layers.ReLU()(y))
    right = layers.Dense(2, name="late")(right)
    model = keras.Model(x, [left, layers.Dropout(0.5)(right)])
    assert paths_in(model, "final") == variables_of(model, "left", "late")


def test_a_recurrent_layer_at_the_end_is_final_with_all_its_kernels():
    model = networks.stacked(
        (4, 3), layers.Dense(3), layers.LSTM(2, name="lstm")
    )
    assert paths_in(model, "final") == variables_of(model, "lstm")


@pytest.mark.parametrize("scope", decay_scope.SCOPES)
def test_patterns_are_of_the_variables_outside_the_scope(scope):
    model = resnet()
    patterns = decay_scope.patterns(model, scope)
    rules = selection.exclusions("exclude_from_weight_decay", patterns)
    found, _ = selection.factors(model.trainable_variables, rules)
    assert found == decay_scope.factors(model, scope)


@pytest.mark.parametrize("scope", ("normalized", "final"))
def test_an_optimizer_with_the_patterns_decays_the_scope_alone(scope):
    """Without a gradient a step is theta - eta lambda theta, or nothing."""
    model = resnet()
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    optimizer = tfwd.SGDW(
        0.5,
        weight_decay=0.25,
        exclude_from_weight_decay=decay_scope.patterns(model, scope),
    )
    variables = model.trainable_variables
    inside = paths_in(model, scope)
    optimizer.build(variables)
    optimizer.apply([keras.ops.zeros_like(v.value) for v in variables])
    for variable in variables:
        expected = 0.875 if variable.path in inside else 1.0
        after = keras.ops.convert_to_numpy(variable.value)
        np.testing.assert_array_equal(after, expected)


def test_an_unknown_scope_is_refused():
    with pytest.raises(ValueError) as error:
        decay_scope.factors(resnet(), "conv")
    assert str(error.value) == (
        "`scope` must be one of all, normalized, final, none. "
        "Received: scope=conv"
    )


def test_a_scope_that_selects_nothing_is_refused():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(x), name="mlp")
    with pytest.raises(ValueError) as error:
        decay_scope.patterns(model, "normalized")
    assert str(error.value) == (
        "`scope` must select a weight layer of the model. Received: "
        "scope=normalized for model=mlp, which has none"
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


def test_a_model_without_a_graph_has_all_and_none_alone():
    model = Subclassed()
    model(networks.images((4,)))
    assert decay_scope.factors(model, "all") == (1.0, 1.0)
    assert len(decay_scope.patterns(model, "none")) == 2
    for scope in ("normalized", "final"):
        with pytest.raises(ValueError) as error:
            decay_scope.patterns(model, scope)
        assert str(error.value) == (
            "`model` must be a functional or sequential model for "
            f"scope={scope}. Received: model=subclassed"
        )
