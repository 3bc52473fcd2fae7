"""DenseNet has the form and the parameter count of Xie et al. 2022."""

import numpy as np
import pytest

from tfwd import models
from tfwd_tests.models import examining

GROWTH = 4  # at width 1/8


def test_trainable_parameters_are_the_published_ones():
    model = models.build("densenet121", (32, 32, 3), 100)
    assert examining.trainable_parameters(model) == 7_048_548


def test_the_name_counts_the_layers():
    assert len(examining.weight_layers(examining.small("densenet121"))) == 121


def test_new_channels_are_put_before_the_old_ones():
    stem, new, both = examining.outputs(
        examining.small("densenet121"),
        examining.images(),
        "stem",
        "block1_layer1_conv2",
        "block1_layer1_concat",
    )
    assert new.shape[-1] == GROWTH and stem.shape[-1] == 2 * GROWTH
    np.testing.assert_array_equal(both[..., :GROWTH], new)
    np.testing.assert_array_equal(both[..., GROWTH:], stem)


@pytest.mark.parametrize(
    ("transition", "channels"),
    # 2 g + 6 g = 8 g, halved 4 g; 4 g + 12 g, halved 8 g; 8 g + 24 g, 16 g.
    [(1, 4 * GROWTH), (2, 8 * GROWTH), (3, 16 * GROWTH)],
)
def test_a_transition_halves_channels_and_averages_four_pixels(
    transition, channels
):
    before, behind = examining.outputs(
        examining.small("densenet121"),
        examining.images(),
        f"transition{transition}",
        f"transition{transition}_pool",
    )
    side = 32 // 2**transition
    assert behind.shape == (2, side, side, channels)
    expected = before.reshape(2, side, 2, side, 2, channels).mean((2, 4))
    # Means of four numbers below 10 in float32.
    np.testing.assert_allclose(behind, expected, rtol=0, atol=2e-6)


def test_a_layer_is_norm_relu_conv_twice():
    names = [
        layer.name
        for layer in examining.small("densenet121").layers
        if layer.name.startswith("block2_layer3_")
    ]
    assert names == [
        f"block2_layer3_conv{number}{suffix}"
        for number in (1, 2)
        for suffix in ("_norm", "_relu", "")
    ] + ["block2_layer3_concat"]
