"""Blocks of convolutions against patches by loops, for every setting.

A dilated convolution with strides is not among them: Keras refuses it. With
channels first the layers themselves run on JAX alone, since TensorFlow has no
such convolution on a CPU; there the block is held against channels last.
"""

import keras
import numpy as np
import pytest

from tfwd.kfac import blocks
from tfwd_tests.kfac.blocks import checking
from tfwd_tests.kfac.blocks import patches
from tfwd_tests.optimizers import harness

# Stride and dilation.
FEW_STEPS = [(1, 1), (2, 1), (1, 2)]
STEPS = [*FEW_STEPS, (3, 1), (1, 3)]
FORMATS = ["channels_last"]
if keras.backend.backend() == "jax":
    FORMATS.append("channels_first")


def agrees(layer, size, channels, groups):
    """Checks a layer, each of whose groups has its own rows."""
    images = checking.generator().normal(size=(3, *size, channels))
    images = images.astype(layer.compute_dtype)
    of_images = patches.patches(
        images,
        layer.kernel_size,
        layer.strides,
        layer.padding,
        layer.dilation_rate,
    )
    offsets = of_images.shape[-2]
    rows = of_images.reshape(-1, offsets, groups, channels // groups)
    rows = np.moveaxis(rows, 2, 0).reshape(groups, len(rows), -1)
    if layer.use_bias:
        rows = np.concatenate([rows, np.ones_like(rows[..., :1])], axis=-1)

    def rows_of_output(outputs):
        if layer.data_format == "channels_first":
            outputs = np.moveaxis(outputs, 1, -1)
        assert outputs.shape[:-1] == of_images.shape[:-2]
        outputs = outputs.reshape(-1, groups, outputs.shape[-1] // groups)
        return np.moveaxis(outputs, 1, 0)

    if layer.data_format == "channels_first":
        images = np.moveaxis(images, -1, 1)
    if groups == 1 and not isinstance(layer, keras.layers.DepthwiseConv2D):
        return checking.assert_block_agrees(
            layer, images, rows[0], lambda outputs: rows_of_output(outputs)[0]
        )
    return checking.assert_block_agrees(layer, images, rows, rows_of_output)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("stride", "dilation"), STEPS)
@pytest.mark.parametrize("kernel_size", [(1, 2), (3, 3), (4, 5)])
def test_conv2d_equals_explicit_patches(
    kernel_size, stride, dilation, padding, data_format
):
    with harness.float64():
        layer = keras.layers.Conv2D(
            4,
            kernel_size,
            strides=stride,
            padding=padding,
            dilation_rate=dilation,
            data_format=data_format,
            dtype="float64",
        )
        block = agrees(layer, (11, 14), 3, 1)
    n = 3 * kernel_size[0] * kernel_size[1] + 1
    assert block.kind == "conv2d"
    assert block.factor_shapes == ((n, n), (4, 4))


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize(("stride", "dilation"), FEW_STEPS)
@pytest.mark.parametrize(("kernel_size", "groups"), [(2, 1), (3, 1), (3, 2)])
def test_conv1d_equals_explicit_patches(
    kernel_size, groups, stride, dilation, padding, data_format
):
    with harness.float64():
        layer = keras.layers.Conv1D(
            6,
            kernel_size,
            strides=stride,
            padding=padding,
            dilation_rate=dilation,
            data_format=data_format,
            groups=groups,
            dtype="float64",
        )
        block = agrees(layer, (12,), 4, groups)
    assert block.kind == ("conv1d" if groups == 1 else "grouped_conv1d")


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("stride", "dilation"), FEW_STEPS)
@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_conv2d_has_one_group_per_channel(
    multiplier, stride, dilation, padding, data_format
):
    with harness.float64():
        layer = keras.layers.DepthwiseConv2D(
            (3, 2),
            depth_multiplier=multiplier,
            strides=stride,
            padding=padding,
            dilation_rate=dilation,
            data_format=data_format,
            dtype="float64",
        )
        block = agrees(layer, (9, 10), 4, 4)
    assert block.kind == "depthwise_conv2d"
    assert block.factor_shapes == (
        (4, 7, 7),
        (4, multiplier, multiplier),
    )


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("stride", "dilation"), FEW_STEPS)
@pytest.mark.parametrize("groups", [2, 6])
def test_grouped_conv2d_has_its_factors_by_group(
    groups, stride, dilation, padding, data_format
):
    with harness.float64():
        layer = keras.layers.Conv2D(
            12,
            (3, 2),
            strides=stride,
            padding=padding,
            dilation_rate=dilation,
            data_format=data_format,
            groups=groups,
            dtype="float64",
        )
        block = agrees(layer, (9, 10), 6, groups)
    n, m = 36 // groups + 1, 12 // groups
    assert block.kind == "grouped_conv2d"
    assert block.factor_shapes == ((groups, n, n), (groups, m, m))


def test_kernel_of_one_offset_is_a_dense_layer_on_pixels():
    agrees(keras.layers.Conv2D(4, 1), (5, 6), 3, 1)
    agrees(keras.layers.Conv2D(4, 1, strides=2), (5, 6), 3, 1)


def test_strides_may_differ_by_axis():
    layer = keras.layers.Conv2D(4, 3, strides=(1, 3), padding="same")
    agrees(layer, (8, 8), 2, 1)


@pytest.mark.parametrize("groups", [1, 2])
def test_without_bias_nothing_is_appended(groups):
    layer = keras.layers.Conv2D(4, 3, use_bias=False, groups=groups)
    agrees(layer, (6, 7), 2, groups)


@pytest.mark.parametrize("groups", [1, 2])
def test_weights_multiply_all_positions_of_an_example(groups):
    random = checking.generator()
    images = random.normal(size=(3, 6, 4)).astype("float32")
    layer = keras.layers.Conv1D(4, 3, groups=groups)
    block = blocks.block_for(checking.built(layer, images))
    weights = np.array([0.25, 0.0, 2.0])
    gradient = random.normal(size=(3, 4, 4)).astype("float32")
    mask = np.array([[True] * 3 + [False] * 3] * 3)
    call = checking.call(block, images, [gradient], weights, mask)
    (a, count), _ = block.statistics([call])
    truth = sum(
        weight
        * checking.numpy(
            block.statistics(
                [checking.call(block, images[i : i + 1], [gradient[i : i + 1]])]
            )[0][0]
        )
        for i, weight in enumerate(weights)
    )
    # The mask is over the input's positions, which the layer does not heed.
    assert checking.error(a, truth) <= 2e-6
    np.testing.assert_allclose(float(count), 4 * 2.25, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda **kwargs: keras.layers.Conv2D(6, (2, 3), **kwargs),
        lambda **kwargs: keras.layers.Conv2D(6, 3, groups=2, **kwargs),
        lambda **kwargs: keras.layers.DepthwiseConv2D(3, **kwargs),
    ],
    ids=["conv2d", "grouped", "depthwise"],
)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [1, 2])
def test_channels_first_has_the_factors_of_channels_last(stride, padding, make):
    random = checking.generator()
    images = random.normal(size=(3, 7, 8, 4)).astype("float32")
    last = make(strides=stride, padding=padding)
    last.build(images.shape)
    gradient = random.normal(size=last.compute_output_shape(images.shape))
    first = make(strides=stride, padding=padding, data_format="channels_first")
    first.build((3, 4, 7, 8))
    results = []
    for layer, arrays in (
        (last, (images, gradient)),
        (first, [np.moveaxis(array, -1, 1) for array in (images, gradient)]),
    ):
        block = blocks.block_for(layer)
        call = checking.call(block, arrays[0], [arrays[1]])
        results.append((block.positions([call]), block.statistics([call])))
    assert results[0][0] == results[1][0]
    for (truth, truth_count), (actual, count) in zip(
        results[0][1], results[1][1], strict=True
    ):
        np.testing.assert_array_equal(
            checking.numpy(actual), checking.numpy(truth)
        )
        assert float(count) == float(truth_count)
