"""What every model has in common, and what `build` refuses."""

import keras
import numpy as np
import pytest

from tfwd import models


def built(name, **arguments):
    keras.utils.set_random_seed(0)
    return models.build(name, (32, 32, 3), 10, width=0.05, **arguments)


def layers_with_weights(model):
    kinds = (keras.layers.Dense, keras.layers.Conv2D)
    return [layer for layer in model.layers if isinstance(layer, kinds)]


@pytest.mark.parametrize("name", ["mlp", "vgg11"])
def test_kernels_start_glorot_uniform_and_biases_at_zero(name):
    for layer in layers_with_weights(built(name)):
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        *window, fan_in, fan_out = kernel.shape
        bound = np.sqrt(6 / (np.prod(window) * (fan_in + fan_out)))
        assert np.abs(kernel).max() <= bound
        if kernel.size > 200:
            # The mean square of a uniform variable is bound^2 / 3, and the
            # square's standard deviation 0.9 of that: five of them.
            ratio = np.mean(kernel**2) / (bound**2 / 3)
            assert abs(ratio - 1) < 5 * 0.9 / np.sqrt(kernel.size)
        assert np.all(keras.ops.convert_to_numpy(layer.bias) == 0)


@pytest.mark.parametrize("name", models.NAMES)
def test_normalization_has_no_trainable_part_and_skips_the_logits(name):
    model = built(name)
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(norms) == len(layers_with_weights(model)) - 1
    for norm in norms:
        assert norm.trainable_variables == []
        assert (norm.momentum, norm.epsilon) == (0.99, 1e-3)
    assert model.layers[-1].name == "logits"


@pytest.mark.parametrize("name", models.NAMES)
def test_without_normalization_there_is_none(name):
    model = built(name, batch_norm=False)
    assert model.non_trainable_variables == []
    assert model.trainable_variables != []


@pytest.mark.parametrize("name", ["mlp", "vgg11"])
def test_logits_are_scores_without_softmax(name):
    """Doubling the last layer's kernel doubles them."""
    model = built(name)
    images = np.random.default_rng(0).random((3, 32, 32, 3))
    once = keras.ops.convert_to_numpy(model(images))
    last = model.get_layer("logits")
    last.kernel.assign(2 * last.kernel.value)
    twice = keras.ops.convert_to_numpy(model(images))
    assert np.any(once < 0) and np.any(once != 0)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)


def test_an_unknown_name_is_refused_with_the_names():
    with pytest.raises(ValueError) as error:
        built("resnet32")
    assert str(error.value) == (
        "`name` must be one of mlp, vgg11, vgg13, vgg16, vgg19. "
        "Received: name=resnet32"
    )


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("width", 0.0),
        ("width", -1.0),
        ("width", float("nan")),
        ("width", float("inf")),
        ("num_classes", 0),
        ("hidden_layers", -1),
        ("hidden_units", 0),
    ],
)
def test_a_size_that_is_none_is_refused(argument, value):
    arguments = {"input_shape": (8, 8, 1), "num_classes": 10} | {
        argument: value
    }
    with pytest.raises(ValueError, match=f"`{argument}` must be") as error:
        models.build("mlp", **arguments)
    assert str(error.value).endswith(f"Received: {argument}={value}")
