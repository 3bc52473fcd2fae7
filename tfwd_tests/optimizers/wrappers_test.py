"""Optimizers are found in what Keras puts around them."""

import keras

import tfwd
from tfwd.optimizers import wrappers
from tfwd_tests import keras_features

LossScaleOptimizer = keras.optimizers.LossScaleOptimizer


def test_an_optimizer_without_a_wrapper_is_itself():
    optimizer = tfwd.AdamS()
    assert wrappers.unwrapped(optimizer) is optimizer
    assert wrappers.unwrapped(None) is None
    assert wrappers.decaying_optimizers(optimizer) == [optimizer]


def test_a_loss_scale_is_taken_off():
    optimizer = tfwd.SGDS()
    wrapped = LossScaleOptimizer(optimizer)
    assert wrappers.unwrapped(wrapped) is optimizer
    assert wrappers.decaying_optimizers(wrapped) == [optimizer]


def test_an_optimizer_of_keras_is_none_of_this_library():
    assert wrappers.decaying_optimizers(keras.optimizers.Adam()) == []


@keras_features.needs_multi_optimizer
def test_the_parts_of_a_multi_optimizer_are_found():
    head, others = tfwd.AdamS(), tfwd.SGDS()
    rules = keras.optimizers.OptimizerMap(default_optimizer=others)
    rules["head/.*"] = head
    optimizer = keras.optimizers.MultiOptimizer(rules)
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(2, name="body"),
            keras.layers.Dense(1, name="head"),
        ]
    )
    optimizer.build(model.trainable_variables)
    assert wrappers.is_multi_optimizer(optimizer)
    assert not wrappers.is_multi_optimizer(head)
    found = wrappers.decaying_optimizers(LossScaleOptimizer(optimizer))
    assert set(found) == {head, others}
