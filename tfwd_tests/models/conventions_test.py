"""The two conventions start, normalize and pad as TensorFlow and PyTorch."""

import math

import keras
import numpy as np
import pytest

from tfwd.models import conventions
from tfwd.models import layers as layers_lib
from tfwd_tests import marks
from tfwd_tests.models import examining

ZHANG = ["mlp", "vgg11", "resnet20"]
XIE = ["resnet50_imagenet", "densenet121", "googlenet"]


def model_of(name, convention):
    own = "zhang2019" if name in ZHANG else "xie2022"
    if convention == own:
        return examining.small(name)
    return examining.small(name, convention=convention)


def fan_in(kernel):
    return math.prod(kernel.shape[:-1])


def check_uniform(values, limit):
    """Checks the limit, the mean square limit²/3, and that both signs occur.

    The square of a uniform variable has a standard deviation of 0.9 of its
    mean: five of them.
    """
    # A drawn number may round to the float32 above the limit.
    assert np.abs(values).max() <= limit * (1 + 1e-6)
    if values.size > 100:
        ratio = np.mean(np.square(values, dtype="float64")) / (limit**2 / 3)
        assert abs(ratio - 1) < 5 * 0.9 / math.sqrt(values.size)
        assert abs(values.mean()) < 5 * limit / math.sqrt(3 * values.size)


@pytest.mark.parametrize("name", [*ZHANG, *XIE])
def test_kernels_start_glorot_uniform_and_biases_at_zero(name):
    for layer in examining.weight_layers(model_of(name, "zhang2019")):
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        window = math.prod(kernel.shape[:-2])
        fans = fan_in(kernel) + window * kernel.shape[-1]
        check_uniform(kernel, math.sqrt(6 / fans))
        assert np.all(keras.ops.convert_to_numpy(layer.bias) == 0)


@pytest.mark.parametrize(
    "name", ["mlp", *marks.many("vgg11", "resnet20", *XIE)]
)
def test_kernels_and_biases_start_uniform_in_the_root_of_fan_in(name):
    for layer in examining.weight_layers(model_of(name, "xie2022")):
        limit = 1 / math.sqrt(fan_in(layer.kernel))
        check_uniform(keras.ops.convert_to_numpy(layer.kernel), limit)
        if layer.use_bias:
            bias = keras.ops.convert_to_numpy(layer.bias)
            check_uniform(bias, limit)
            assert np.all(bias != 0)


def test_layers_of_one_shape_start_differently():
    first, second = (
        keras.ops.convert_to_numpy(
            examining.small("resnet20").get_layer(n).kernel
        )
        for n in ("stage1_block1_conv1", "stage1_block1_conv2")
    )
    assert not np.any(first == second)


@pytest.mark.parametrize("name", [*ZHANG, *XIE])
def test_normalization_is_that_of_the_convention(name):
    for convention, affine, epsilon, momentum in (
        ("zhang2019", False, 1e-3, 0.99),
        ("xie2022", True, 1e-5, 0.9),
    ):
        norms = examining.layers_of(
            model_of(name, convention), keras.layers.BatchNormalization
        )
        assert norms
        for norm in norms:
            assert (norm.center, norm.scale) == (affine, affine)
            assert (norm.epsilon, norm.momentum) == (epsilon, momentum)
            assert len(norm.trainable_variables) == (2 if affine else 0)


@pytest.mark.parametrize(
    ("name", "has_biases"),
    [
        ("vgg11", True),
        ("resnet20", False),
        ("resnet50_imagenet", False),
        ("densenet121", False),
        ("googlenet", True),
    ],
)
def test_convolutions_have_the_biases_of_the_convention(name, has_biases):
    for convention, expected in (("zhang2019", True), ("xie2022", has_biases)):
        convolutions = examining.layers_of(
            model_of(name, convention), keras.layers.Conv2D
        )
        assert {layer.use_bias for layer in convolutions} == {expected}


def convolved(images, kernel, strides, pads):
    """Cross-correlation, with `pads` before and behind in both directions."""
    size = kernel.shape[0]
    x = np.pad(images, ((0, 0), pads, pads, (0, 0)))
    rows, columns = (
        range(0, side - size + 1, strides) for side in x.shape[1:3]
    )
    patches = [
        [x[:, i : i + size, j : j + size] for j in columns] for i in rows
    ]
    return np.einsum("ijbhwc,hwco->bijo", np.array(patches), kernel)


@pytest.mark.parametrize(
    ("convention", "side", "size", "strides", "pads"),
    [
        ("xie2022", 8, 3, 2, (1, 1)),
        ("xie2022", 7, 3, 2, (1, 1)),
        ("xie2022", 8, 7, 2, (3, 3)),
        ("xie2022", 8, 1, 2, (0, 0)),
        ("xie2022", 8, 3, 1, (1, 1)),
        # Of the one row that is padded for even sides all is at the end.
        ("zhang2019", 8, 3, 2, (0, 1)),
        ("zhang2019", 7, 3, 2, (1, 1)),
        ("zhang2019", 8, 1, 2, (0, 0)),
        ("zhang2019", 8, 3, 1, (1, 1)),
    ],
)
def test_a_convolution_pads_as_in_numpy(convention, side, size, strides, pads):
    layers = layers_lib.Layers(conventions.CONVENTIONS[convention])
    inputs = keras.Input((side, side, 2))
    outputs = layers.conv(inputs, 3, size, "conv", strides=strides)
    model = keras.Model(inputs, outputs)
    kernel = keras.ops.convert_to_numpy(model.get_layer("conv").kernel)
    images = examining.images(shape=(side, side, 2))
    found = keras.ops.convert_to_numpy(model(images))
    expected = convolved(images, kernel, strides, pads)
    # Biases of `zhang2019` start at 0; at most 98 products of float32.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_strided_network_pads_symmetrically_only_for_xie2022():
    def paddings(convention):
        model = model_of("resnet20", convention)
        return examining.layers_of(model, keras.layers.ZeroPadding2D)

    assert paddings("zhang2019") == []
    names = [layer.name for layer in paddings("xie2022")]
    assert names == ["stage2_block1_conv1_pad", "stage3_block1_conv1_pad"]
