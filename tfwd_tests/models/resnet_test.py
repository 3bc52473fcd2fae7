"""Residual networks have the papers' forms and parameter counts."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfwd import models
from tfwd.models import resnet
from tfwd_tests.models import examining


@pytest.mark.parametrize(
    ("name", "num_classes", "width", "parameters"),
    [
        # Zhang et al. 2019, their published code.
        ("resnet32", 10, 4.0, 7_422_986),
        ("resnet32", 100, 4.0, 7_446_116),
        # Xie et al. 2022, their published code.
        ("resnet18", 10, 1.0, 11_173_962),
        ("resnet34", 100, 1.0, 21_328_292),
        # kuangliu/pytorch-cifar, counted in PyTorch 2.13.
        ("resnet50", 10, 1.0, 23_520_842),
        # torchvision's documentation of `resnet50`.
        ("resnet50_imagenet", 1000, 1.0, 25_557_032),
    ],
)
def test_trainable_parameters_are_the_published_ones(
    name, num_classes, width, parameters
):
    model = models.build(name, (32, 32, 3), num_classes, width=width)
    assert examining.trainable_parameters(model) == parameters


@pytest.mark.parametrize("name", resnet.FORMS)
def test_the_name_counts_the_layers_beside_the_shortcuts(name):
    layers = examining.weight_layers(examining.small(name))
    count = sum("shortcut" not in layer.name for layer in layers)
    assert count == int(name.removeprefix("resnet").partition("_")[0])


@pytest.mark.parametrize(
    ("name", "side", "sides"),
    [
        ("resnet20", 32, (32, 16, 8)),
        ("resnet18", 32, (32, 16, 8, 4)),
        ("resnet20", 28, (28, 14, 7)),
        ("resnet18", 31, (31, 16, 8, 4)),
        ("resnet50_imagenet", 224, (56, 28, 14, 7)),
    ],
)
def test_every_stage_but_the_first_halves_the_image(name, side, sides):
    model = models.build(name, (side, side, 3), 10, width=0.05)
    for stage, expected in enumerate(sides, start=1):
        shape = model.get_layer(f"stage{stage}_block2_relu").output.shape
        assert shape[1:3] == (expected, expected)


@pytest.mark.parametrize("convention", ["zhang2019", "xie2022"])
def test_a_block_without_its_last_convolution_is_the_identity(convention):
    model = models.build(
        "resnet20", (8, 8, 3), 10, width=0.25, convention=convention
    )
    last = model.get_layer("stage2_block2_conv2")
    last.kernel.assign(np.zeros(last.kernel.shape))
    before, behind = examining.outputs(
        model,
        examining.images(shape=(8, 8, 3)),
        "stage2_block1_relu",
        "stage2_block2_relu",
    )
    assert before.max() > 0
    np.testing.assert_array_equal(behind, before)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet20", [2, 3]),
        ("resnet18", [2, 3, 4]),
        ("resnet50", [1, 2, 3, 4]),
        ("resnet50_imagenet", [1, 2, 3, 4]),
    ],
)
def test_a_shortcut_is_a_layer_only_where_the_shape_changes(name, stages):
    model = examining.small(name)
    layers = examining.layers_of(model, keras.layers.Conv2D)
    shortcuts = [layer for layer in layers if "shortcut" in layer.name]
    assert [layer.name for layer in shortcuts] == [
        f"stage{stage}_block1_shortcut" for stage in stages
    ]
    for layer, stage in zip(shortcuts, stages, strict=True):
        assert layer.kernel_size == layer.strides == (1, 1)
        if stage > 1:
            pool = model.get_layer(f"{layer.name}_subsample")
            assert (pool.pool_size, pool.strides) == ((1, 1), (2, 2))


# The shortcuts of the second stage of `resnet50_imagenet` at small widths.
GRADIENTS = """
import keras
import tensorflow as tf
from tfwd.models import conventions
from tfwd.models import layers as layers_lib
layers = layers_lib.Layers(conventions.CONVENTIONS["xie2022"])
for channels in (2, 4, 8):
    inputs = keras.Input((56, 56, channels))
    outputs = layers.conv(inputs, 2 * channels, 1, "conv", strides=2)
    model = keras.Model(inputs, outputs)

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(tf.ones((4, 56, 56, channels))) ** 2)
        return tape.gradient(loss, model.trainable_variables)

    for _ in range(3):
        gradient()
"""


def test_few_channels_of_a_large_image_do_not_crash_tensorflow():
    # In a process of its own: what writes past its memory ends the process.
    subprocess.run(
        [sys.executable, "-c", GRADIENTS],
        check=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
    )


def test_the_layers_of_a_bottleneck_follow_each_other():
    model = examining.small("resnet50")
    names = [
        layer.name
        for layer in model.layers
        if layer.name.startswith("stage2_block2_")
    ]
    assert names == [
        f"stage2_block2_{suffix}"
        for suffix in (
            *("conv1", "conv1_norm", "conv1_relu"),
            *("conv2", "conv2_norm", "conv2_relu"),
            *("conv3", "conv3_norm", "add", "relu"),
        )
    ]
    first = model.get_layer("stage2_block1_conv2")
    assert first.kernel_size == (3, 3) and first.strides == (2, 2)
