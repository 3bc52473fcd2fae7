"""Small models, and what the tests of several of them look at."""

import functools

import keras
import numpy as np
import pytest

from tfwd import models

IMAGE = (32, 32, 3)
IMAGE_MODELS = tuple(
    name for name in models.NAMES if models.task(name) == "classification"
)


# One of each form.
KINDS = (
    *("mlp", "vgg11", "resnet20", "resnet50_imagenet"),
    *("densenet121", "googlenet", "lstm"),
)


def abridged(names):
    """The same names, deeper forms of a kind under `--full` alone."""
    return [
        name if name in KINDS else pytest.param(name, marks=pytest.mark.many)
        for name in names
    ]


@functools.cache
def small(name, width=1 / 8, **arguments):
    """A narrow model with 10 classes; not to be changed."""
    keras.utils.set_random_seed(0)
    shape = IMAGE if name in IMAGE_MODELS else (None,)
    return models.build(name, shape, 10, width=width, **arguments)


def layers_of(model, *kinds):
    """The layers of some classes."""
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def weight_layers(model):
    """Convolutions and dense layers."""
    return layers_of(model, keras.layers.Conv2D, keras.layers.Dense)


def trainable_parameters(model):
    """How many numbers are trained."""
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def outputs(model, inputs, *names):
    """The outputs of named layers at inference, as numpy arrays."""
    tensors = [model.get_layer(name).output for name in names]
    part = keras.Model(model.input, tensors)
    return [keras.ops.convert_to_numpy(x) for x in part(inputs)]


def images(count=2, shape=IMAGE):
    """Random images."""
    random = np.random.default_rng(0)
    return random.normal(size=(count, *shape)).astype("float32")
