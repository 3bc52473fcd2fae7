"""Which layers have a block, and why the others have none.

Covers `block`.
"""

import keras
import numpy as np
import pytest

from tfwd.kfac import blocks

INPUTS = np.ones((2, 6, 6, 4), "float32")


class Subclass(keras.layers.Dense):
    pass


def after(change, layer, inputs=INPUTS):
    layer(inputs)
    change(layer)
    return layer


def lora(layer):
    layer.enable_lora(2)


def freeze(name):
    def change(layer):
        getattr(layer, name).trainable = False

    return change


def freeze_all(layer):
    layer.trainable = False


def rematerialized():
    with keras.RematScope(mode="full"):
        return keras.layers.Dense(3)


def einsum(equation, shape, bias=None, inputs=INPUTS):
    layer = keras.layers.EinsumDense(equation, shape, bias_axes=bias)
    layer.build(inputs.shape)
    return layer


LAYERS = keras.layers
REFUSED = {
    "lora of Dense": (
        lambda: after(lora, LAYERS.Dense(3)),
        "LoRA is enabled",
    ),
    "lora of Conv2D": (
        lambda: after(lora, LAYERS.Conv2D(3, 2)),
        "LoRA is enabled",
    ),
    "lora of EinsumDense": (
        lambda: after(lora, LAYERS.EinsumDense("abcd,de->abce", (6, 6, 3))),
        "LoRA is enabled",
    ),
    "lora of Embedding": (
        lambda: after(lora, LAYERS.Embedding(5, 3)),
        "LoRA is enabled",
    ),
    "quantized": (
        lambda: after(lambda x: x.quantize("int8"), LAYERS.Dense(3)),
        "it is quantized to int8",
    ),
    "rematerialized": (rematerialized, "it is rematerialized"),
    "frozen bias": (
        lambda: after(freeze("bias"), LAYERS.Dense(3)),
        "its bias alone is frozen",
    ),
    "frozen kernel": (
        lambda: after(freeze("kernel"), LAYERS.Conv2D(3, 2)),
        "its kernel alone is frozen",
    ),
    "frozen": (
        lambda: after(freeze_all, LAYERS.Dense(3)),
        "no variable of it is trainable",
    ),
    "frozen embedding": (
        lambda: after(freeze_all, LAYERS.Embedding(5, 3)),
        "no variable of it is trainable",
    ),
    "frozen normalization": (
        lambda: after(freeze_all, LAYERS.BatchNormalization()),
        "no variable of it is trainable",
    ),
    "no kernel variable": (
        lambda: after(
            lambda layer: setattr(layer, "_kernel", np.ones((4, 3))),
            LAYERS.Dense(3),
        ),
        "its kernel is not a variable",
    ),
    "another layer": (
        lambda: LAYERS.SeparableConv2D(3, 2),
        "SeparableConv2D is not supported",
    ),
    "subclass": (lambda: Subclass(3), "Subclass is not supported"),
    "normalized batch": (
        lambda: LAYERS.LayerNormalization(axis=[0, 1]),
        r"axis=\[0, 1\] has the batch in it",
    ),
    "bias over positions": (
        lambda: einsum("abcd,de->abce", (6, 6, 3), "ce"),
        "bias_axes='ce' are not the axes",
    ),
    "bias over some outputs": (
        lambda: einsum("abcd,def->abcef", (6, 6, 3, 2), "f"),
        "bias_axes='f' are not the axes",
    ),
    "bias over a position": (
        lambda: einsum("abcd,d->abc", (6, 6), "c"),
        "bias_axes='c' are not the axes",
    ),
    "sum over the input": (
        lambda: einsum("abcd,de->abe", (6, 3)),
        "sums over 'c' of the input alone",
    ),
    "batch in the kernel": (
        lambda: einsum("abcd,ad->abc", (6, 6)),
        "has the batch in the kernel",
    ),
    "repeated label": (
        lambda: einsum("abbc,cd->abd", (6, 3)),
        "repeats a label",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_layer_is_refused_with_its_reason(case):
    make, reason = REFUSED[case]
    layer = make()
    if not layer.built:
        layer.build(INPUTS.shape)
    with pytest.raises(blocks.UnsupportedLayerError, match=reason):
        blocks.block_for(layer)


@pytest.mark.parametrize("layer_class", list(blocks.BLOCKS))
def test_a_layer_must_be_built(layer_class):
    arguments = {
        keras.layers.Conv1D: (3, 2),
        keras.layers.Conv2D: (3, 2),
        keras.layers.EinsumDense: ("ab,bc->ac", 3),
        keras.layers.Embedding: (3, 2),
        keras.layers.BatchNormalization: (),
        keras.layers.LayerNormalization: (),
    }
    layer = layer_class(*arguments.get(layer_class, (3,)))
    with pytest.raises(ValueError, match="must be built") as caught:
        blocks.block_for(layer)
    assert not isinstance(caught.value, blocks.UnsupportedLayerError)


def test_a_registered_subclass_has_a_block(monkeypatch):
    dense = blocks.BLOCKS[keras.layers.Dense]
    monkeypatch.setitem(blocks.BLOCKS, Subclass, dense)
    layer = Subclass(3)
    layer.build((None, 4))
    assert blocks.block_for(layer).kind == "dense"


def test_a_layer_of_half_precision_has_factors_in_float32():
    layer = keras.layers.Dense(3, dtype="bfloat16")
    layer.build((None, 4))
    block = blocks.block_for(layer)
    assert block.dtype == "float32"
    matrix = block.to_matrix(block.variables)
    assert keras.backend.standardize_dtype(matrix.dtype) == "float32"
