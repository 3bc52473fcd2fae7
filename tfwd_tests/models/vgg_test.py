"""VGG has the form and the parameter counts of Zhang et al. 2019."""

import keras
import numpy as np
import pytest

from tfwd import models
from tfwd_tests.models import examining

# Zhang et al. 2019, their published code with 10 classes.
PARAMETERS = {
    "vgg11": 9_225_610,
    "vgg13": 9_410_122,
    "vgg16": 14_719_818,
    "vgg19": 20_029_514,
}


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_trainable_parameters_are_the_published_ones(name, batch_norm):
    model = models.build(name, (32, 32, 3), 10, batch_norm=batch_norm)
    assert examining.trainable_parameters(model) == PARAMETERS[name]


def test_vgg16_of_xie_2022_adds_the_scales_and_shifts():
    model = models.build("vgg16", (32, 32, 3), 10, convention="xie2022")
    assert examining.trainable_parameters(model) == 14_728_266


def test_layers_follow_each_other_as_in_the_paper():
    model = models.build("vgg11", (32, 32, 3), 10, width=0.1)
    expected = []
    for block, convolutions in enumerate((1, 1, 2, 2, 2), start=1):
        for number in range(1, convolutions + 1):
            layer = f"block{block}_conv{number}"
            expected += [layer, f"{layer}_norm", f"{layer}_relu"]
        expected += [f"block{block}_pool"]
    names = [layer.name for layer in model.layers]
    assert names == ["image", *expected, "flatten", "logits"]


@pytest.mark.parametrize(
    ("width", "channels"),
    [
        (0.25, [16, 32, 64, 64, 128, 128, 128, 128]),
        (0.01, [1, 1, 3, 3, 5, 5, 5, 5]),
    ],
)
def test_width_multiplies_the_channels(width, channels):
    model = models.build("vgg11", (32, 32, 3), 10, width=width)
    assert channels == [
        layer.filters
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]


@pytest.mark.parametrize(("size", "features"), [(32, 5), (64, 20), (33, 5)])
def test_five_poolings_halve_the_image_five_times(size, features):
    model = models.build("vgg11", (size, size, 3), 7, width=0.01)
    assert model.get_layer("logits").kernel.shape == (features, 7)
    assert model(np.zeros((2, size, size, 3))).shape == (2, 7)
