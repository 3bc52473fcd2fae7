"""GoogLeNet has the form and the parameter count of Xie et al. 2022."""

import keras
import numpy as np
import pytest

from tfwd import models
from tfwd.models import conventions
from tfwd.models import layers as layers_lib
from tfwd_tests.models import examining


def test_trainable_parameters_are_the_published_ones():
    model = models.build("googlenet", (32, 32, 3), 100)
    assert examining.trainable_parameters(model) == 6_258_500


def maxima(images, strides):
    """Of 3x3 around every `strides`-th pixel, −∞ beyond the edge."""
    pads = ((0, 0), (1, 1), (1, 1), (0, 0))
    x = np.pad(images, pads, constant_values=-np.inf)
    rows, columns = (range(0, side - 2, strides) for side in x.shape[1:3])
    pooled = [
        [x[:, i : i + 3, j : j + 3].max((1, 2)) for j in columns] for i in rows
    ]
    return np.array(pooled).transpose(2, 0, 1, 3)


@pytest.mark.parametrize("side", [1, 7, 8])
def test_pooling_takes_the_maximum_around_every_second_pixel(side):
    layers = layers_lib.Layers(conventions.CONVENTIONS["xie2022"])
    inputs = keras.Input((side, side, 2))
    model = keras.Model(inputs, layers.pooled(inputs, "pool"))
    images = np.maximum(examining.images(shape=(side, side, 2)), 0)
    found = keras.ops.convert_to_numpy(model(images))
    np.testing.assert_array_equal(found, maxima(images, 2))


@pytest.mark.parametrize(
    ("before", "pool", "strides"),
    [
        ("stem_relu", "a3_pool", 1),
        ("b3_concat", "a4_halved", 2),
        ("e4_concat", "a5_halved", 2),
    ],
)
def test_poolings_of_the_network_are_those_of_numpy(before, pool, strides):
    images, found = examining.outputs(
        examining.small("googlenet"), examining.images(), before, pool
    )
    np.testing.assert_array_equal(found, maxima(images, strides))


def test_an_inception_puts_its_branches_side_by_side():
    *branches, whole = examining.outputs(
        examining.small("googlenet"),
        examining.images(),
        "c4_1x1_relu",
        "c4_3x3_relu",
        "c4_5x5_second_relu",
        "c4_pool_1x1_relu",
        "c4_concat",
    )
    # An eighth of 128, 256, 64 and 64, at 16x16 pixels.
    assert [b.shape for b in branches] == [
        (2, 16, 16, channels) for channels in (16, 32, 8, 8)
    ]
    np.testing.assert_array_equal(np.concatenate(branches, -1), whole)


def test_dropout_is_before_the_logits():
    model = examining.small("googlenet")
    assert [layer.name for layer in model.layers[-3:]] == [
        "pool",
        "dropout",
        "logits",
    ]
    assert model.get_layer("dropout").rate == 0.4


def test_dropout_can_be_set_to_nothing():
    model = models.build("googlenet", (1, 1, 1), 2, width=0.01, dropout=0.0)
    assert model.output_shape == (None, 2)
    assert model.get_layer("dropout").rate == 0
