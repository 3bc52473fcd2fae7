"""Sparse and ragged inputs, a part of a model, and changed layers: refused."""

import keras
import numpy as np
import pytest
from keras import layers

import tfwd

LOSS = keras.losses.MeanSquaredError()
X, Y = np.ones((4, 4), "float32"), np.ones((4, 2), "float32")


def dense(**options):
    return keras.Sequential(
        [
            keras.Input((4,), **options),
            layers.Dense(5, name="first"),
            layers.Dense(2, name="second"),
        ]
    )


def test_a_model_with_a_sparse_input_is_refused_by_attach():
    with pytest.raises(ValueError, match="dense inputs. Received: .* sparse$"):
        tfwd.KFAC(0.1).attach(dense(sparse=True), LOSS)


def test_one_of_several_inputs_is_enough():
    one, other = keras.Input((4,)), keras.Input((4,), sparse=True)
    x = layers.Add()([layers.Dense(3)(one), layers.Dense(3)(other)])
    with pytest.raises(ValueError, match="dense inputs. Received: .* sparse$"):
        tfwd.KFAC(0.1).attach(keras.Model([one, other], x), LOSS)


def lora(model):
    model.layers[0].enable_lora(2)


def int8(model):
    model.layers[0].quantize("int8")


CHANGES = [(lora, "LoRA is enabled"), (int8, "quantized to int8")]


@pytest.mark.parametrize(("change", "reason"), CHANGES)
@pytest.mark.parametrize("is_built", [False, True])
def test_a_layer_changed_after_attach_is_named(change, reason, is_built):
    model, optimizer = dense(), tfwd.KFAC(0.1)
    optimizer.attach(model, LOSS)
    if is_built:
        optimizer.build(model.trainable_variables)
    change(model)
    with pytest.raises(ValueError, match=rf"\(first: .*{reason}\)$"):
        if is_built:
            optimizer.check_variables(model.trainable_variables)
        else:
            optimizer.build(model.trainable_variables)


@pytest.mark.parametrize("change", [lora, int8])
def test_a_layer_changed_before_attach_is_named(change):
    model = dense()
    change(model)
    with pytest.raises(ValueError, match="first: (LoRA|it is quantized)"):
        tfwd.KFAC(0.1).attach(model, LOSS)


def test_a_part_of_the_model_is_refused():
    model, optimizer = dense(), tfwd.KFAC(0.1)
    optimizer.attach(model, LOSS)
    with pytest.raises(ValueError, match="not a part as in a `MultiOptimizer`"):
        optimizer.build(model.trainable_variables[:2])
