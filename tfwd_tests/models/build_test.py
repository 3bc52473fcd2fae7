"""What every model has in common, and what `build` refuses.

Covers `arguments`, `layers` and `shapes`.
"""

import keras
import numpy as np
import pytest

from tfwd import models
from tfwd_tests.models import examining


@pytest.mark.parametrize("name", examining.abridged(examining.IMAGE_MODELS))
def test_images_become_one_score_for_each_class(name):
    model = examining.small(name)
    images = examining.images()
    if keras.backend.backend() == "jax":
        # Compiled as a whole: one by one, JAX compiles hundreds of operations.
        logits = model.predict(images, verbose=0)
    else:
        logits = model(images)
    assert logits.shape == (2, 10)
    assert np.all(np.isfinite(keras.ops.convert_to_numpy(logits)))


@pytest.mark.parametrize("name", ["mlp", "vgg11", "resnet20"])
def test_logits_are_scores_without_softmax(name):
    """Doubling the last layer's kernel doubles them."""
    model = models.build(name, (32, 32, 3), 10, width=0.05)
    images = examining.images(3)
    once = keras.ops.convert_to_numpy(model(images))
    last = model.get_layer("logits")
    last.kernel.assign(2 * last.kernel.value)
    twice = keras.ops.convert_to_numpy(model(images))
    assert np.any(once < 0) and np.any(once != 0)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)


@pytest.mark.parametrize("name", examining.KINDS)
def test_every_layer_is_named_by_its_place(name):
    """Keras numbers names of its own by how many there were before."""
    model = examining.small(name)
    names = [layer.name for layer in model.layers]
    wide = examining.small(name, width=1 / 4)
    assert names == [layer.name for layer in wide.layers]
    assert len(set(names)) == len(names)
    assert model.name == name
    assert "logits" in names


@pytest.mark.parametrize("name", examining.KINDS)
def test_activations_are_layers_of_their_own(name):
    for layer in examining.weight_layers(examining.small(name)):
        assert layer.activation is keras.activations.linear


@pytest.mark.parametrize("name", examining.KINDS)
def test_without_normalization_there_is_none_but_all_biases(name):
    model = examining.small(name, batch_norm=False)
    assert not examining.layers_of(model, keras.layers.BatchNormalization)
    assert all(layer.use_bias for layer in examining.weight_layers(model))


@pytest.mark.parametrize("name", examining.abridged(examining.IMAGE_MODELS))
def test_normalization_is_before_each_relu_and_not_on_the_logits(name):
    model = examining.small(name)
    norms = examining.layers_of(model, keras.layers.BatchNormalization)
    assert len(norms) == len(examining.weight_layers(model)) - 1
    assert not any(norm.synchronized for norm in norms)
    last = model.layers[-1]
    assert last.name == "logits" and last.output is model.outputs[0]


@pytest.mark.parametrize("name", examining.KINDS)
def test_width_multiplies_the_units_of_every_layer(name):
    """So the parameters grow with it, at most with its square."""
    narrow = examining.small(name)
    wide = examining.small(name, width=1 / 4)
    for one, other in zip(
        examining.weight_layers(narrow)[:-1],
        examining.weight_layers(wide)[:-1],
        strict=True,
    ):
        assert other.kernel.shape[-1] == 2 * one.kernel.shape[-1]
    ratio = examining.trainable_parameters(
        wide
    ) / examining.trainable_parameters(narrow)
    assert 1.9 < ratio < 4.1


@pytest.mark.parametrize("name", models.NAMES)
def test_the_task_follows_from_the_name(name):
    expected = "language_model" if name == "lstm" else "classification"
    assert models.task(name) == expected


@pytest.mark.parametrize("function", [models.task, models.build])
def test_an_unknown_name_is_refused_with_the_names(function):
    arguments = ((32, 32, 3), 10) if function is models.build else ()
    with pytest.raises(ValueError) as error:
        function("alexnet", *arguments)
    assert str(error.value) == (
        "`name` must be one of mlp, vgg11, vgg13, vgg16, vgg19, resnet20, "
        "resnet32, resnet44, resnet56, resnet18, resnet34, resnet50, "
        "resnet50_imagenet, densenet121, googlenet, lstm. "
        "Received: name=alexnet"
    )


def test_an_unknown_convention_is_refused_with_the_conventions():
    with pytest.raises(ValueError) as error:
        models.build("mlp", (8, 8, 1), 10, convention="torch")
    assert str(error.value) == (
        "`convention` must be one of zhang2019, xie2022. "
        "Received: convention=torch"
    )


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        ("mlp", "width", 0.0),
        ("mlp", "width", -1.0),
        ("mlp", "width", float("nan")),
        ("mlp", "width", float("inf")),
        ("mlp", "num_classes", 0),
        ("mlp", "hidden_layers", -1),
        ("mlp", "hidden_units", 0),
        ("mlp", "dropout", 0.5),
        ("resnet20", "dropout", 0.0),
        ("resnet20", "input_shape", (64,)),
        ("vgg16", "input_shape", (31, 32, 3)),
        ("vgg11", "input_shape", (32, 16, 3)),
        ("densenet121", "input_shape", (7, 8, 3)),
        ("googlenet", "dropout", 1.0),
        ("lstm", "dropout", -0.1),
        ("lstm", "hidden_layers", 0),
        ("lstm", "input_shape", (32, 32, 3)),
    ],
)
def test_what_a_model_cannot_have_is_refused(name, argument, value):
    shape = (None,) if name == "lstm" else (8, 8, 1)
    arguments = {"input_shape": shape, "num_classes": 10} | {argument: value}
    with pytest.raises(ValueError, match=f"`{argument}` must be") as error:
        models.build(name, **arguments)
    assert str(error.value).endswith(f"Received: {argument}={value}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("hidden_layers", 1.5),
        ("hidden_layers", True),
        ("hidden_units", "128"),
        ("num_classes", "10"),
        ("num_classes", 10.0),
        ("num_classes", None),
        ("width", "1"),
        ("width", None),
        ("width", True),
        ("batch_norm", "false"),
        ("sync_batch_norm", 1),
        ("input_shape", None),
        ("input_shape", 784),
        ("input_shape", (8.0, 8)),
        ("input_shape", (0, 8)),
        ("input_shape", (None, 8, 1)),
        ("name", None),
        ("name", ["mlp"]),
        ("convention", 1),
    ],
)
def test_an_argument_of_another_type_is_refused_by_name(argument, value):
    good = {"name": "mlp", "input_shape": (8, 8, 1), "num_classes": 10}
    with pytest.raises(ValueError, match=f"^`{argument}` must ") as error:
        models.build(**good | {argument: value})
    assert str(error.value).endswith(f"Received: {argument}={value}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", models.NAMES)
def test_a_dropout_that_is_no_number_is_refused_by_every_model(name):
    shape = (4,) if name == "lstm" else (32, 32, 3)
    with pytest.raises(ValueError, match="^`dropout` must be "):
        models.build(name, shape, 2, dropout="0.5")


POOLED = ["resnet18", "resnet50_imagenet", "densenet121", "googlenet"]


@pytest.mark.parametrize(
    "name",
    ["resnet20", *(pytest.param(n, marks=pytest.mark.many) for n in POOLED)],
)
def test_models_that_average_over_pixels_take_images_of_any_size(name):
    free = models.build(name, (None, None, 3), 2, width=0.01)
    fixed = models.build(name, (16, 24, 3), 2, width=0.01)
    fixed.set_weights(free.get_weights())
    assert free.output_shape == (None, 2)
    images = np.random.default_rng(0).normal(size=(2, 16, 24, 3))
    images = images.astype("float32")
    np.testing.assert_allclose(
        free.predict(images, verbose=0),
        fixed.predict(images, verbose=0),
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match="^`input_shape` must have no free"):
        models.build(name, (16, 16, None), 2)


@pytest.mark.parametrize("name", ["mlp", "vgg16"])
def test_models_that_flatten_need_the_size_of_the_image(name):
    with pytest.raises(ValueError, match="^`input_shape` must have no free"):
        models.build(name, (None, 32, 3), 2)


def test_numbers_of_numpy_make_the_same_model():
    shape, one = (np.int64(8), np.int32(8), 1), np.uint8(1)
    made = models.build(
        "mlp", shape, np.int64(3), width=np.float32(0.5), hidden_layers=one
    )
    same = models.build("mlp", (8, 8, 1), 3, width=0.5, hidden_layers=1)
    assert made.to_json() == same.to_json()


@pytest.mark.parametrize("name", ["resnet20", "resnet50_imagenet"])
def test_a_fully_convolutional_model_takes_an_image_of_one_pixel(name):
    model = models.build(name, (1, 1, 1), 2, width=0.01)
    assert model.output_shape == (None, 2)
