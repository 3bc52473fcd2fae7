"""Scale invariance is found where it is, and measured.

Each network states by hand which of its layers are scale-invariant; `confirm`
then runs it with the kernels doubled.
"""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.diagnostics import scale_invariance
from tfwd_tests import keras_features
from tfwd_tests.diagnostics import networks
from tfwd_tests.kfac import models

# Float64, a few layers; a change that is real is of the size of the outputs.
ROUNDING = 1e-12
CHANGE = 1e-3


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def plain():
    return [
        networks.conv("first", use_bias=True),
        networks.norm(),
        layers.ReLU(),
        networks.conv("second", use_bias=True, padding="valid"),
        layers.MaxPooling2D(2),
        networks.norm(scale=False, center=False),
        layers.Activation("tanh"),
        layers.Flatten(),
        layers.Dense(2, name="head"),
    ]


def relu_between(use_bias):
    return [
        networks.conv("first", use_bias=use_bias, activation="relu"),
        networks.norm(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, name="head"),
    ]


def dropout_between(use_bias):
    return [
        networks.conv("first", use_bias=use_bias),
        layers.Dropout(0.5, seed=3),
        networks.norm(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, name="head"),
    ]


def sigmoid_between():
    return [
        networks.conv("first"),
        layers.Activation("sigmoid"),
        networks.norm(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, name="head"),
    ]


def two_before_one():
    # The bias of `first` is no constant behind the zeros at the border.
    return [
        networks.conv("first", use_bias=True),
        networks.conv("second", use_bias=True),
        networks.norm(),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, name="head"),
    ]


def normalized_by(layer, use_bias, units=6):
    return [
        layers.Dense(units, use_bias=use_bias, name="first"),
        layer,
        layers.ReLU(),
        layers.Dense(2, name="head"),
    ]


def instance_norm():
    return [
        networks.conv("first", use_bias=True),
        layers.GroupNormalization(groups=-1),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, name="head"),
    ]


def group_norm(use_bias):
    return [
        networks.conv("first", use_bias=use_bias),
        layers.GroupNormalization(groups=2),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, name="head"),
    ]


IMAGE, VECTOR = (6, 6, 3), (5,)
STACKS = {
    "plain": (IMAGE, plain, {"first", "second"}),
    "relu_with_bias": (IMAGE, lambda: relu_between(True), set()),
    "relu_without_bias": (IMAGE, lambda: relu_between(False), {"first"}),
    "dropout_with_bias": (IMAGE, lambda: dropout_between(True), set()),
    "dropout_without_bias": (IMAGE, lambda: dropout_between(False), {"first"}),
    "sigmoid": (IMAGE, sigmoid_between, set()),
    "two_before_one": (IMAGE, two_before_one, {"second"}),
    "layer_norm_with_bias": (
        VECTOR,
        lambda: normalized_by(layers.LayerNormalization(), True),
        set(),
    ),
    "layer_norm": (
        VECTOR,
        lambda: normalized_by(layers.LayerNormalization(), False),
        {"first"},
    ),
    "rms_norm_with_bias": (
        VECTOR,
        lambda: normalized_by(layers.RMSNormalization(), True),
        set(),
    ),
    "rms_norm": (
        VECTOR,
        lambda: normalized_by(layers.RMSNormalization(), False),
        {"first"},
    ),
    "unit_norm_with_bias": (
        VECTOR,
        lambda: normalized_by(layers.UnitNormalization(), True),
        set(),
    ),
    "unit_norm": (
        VECTOR,
        lambda: normalized_by(layers.UnitNormalization(), False),
        {"first"},
    ),
    "group_norm_with_bias": (IMAGE, lambda: group_norm(True), set()),
    "group_norm": (IMAGE, lambda: group_norm(False), {"first"}),
    "instance_norm": (IMAGE, instance_norm, {"first"}),
}


def assert_invariant(model, expected, inputs):
    """Checks the graph against `expected`, and both against the network."""
    found = scale_invariance.of_model(model)
    names = {one.weight_layer.name for one in found if one.is_invariant}
    assert names == expected
    changes = scale_invariance.confirm(model, found, inputs)
    for one, change in zip(found, changes, strict=True):
        name = one.weight_layer.name
        if one.is_invariant:
            assert one.normalizations and change < ROUNDING, (name, change)
        else:
            assert change > CHANGE, (name, change)


@pytest.mark.parametrize("name", STACKS)
def test_layers_of_a_chain_are_invariant_as_listed(name):
    shape, stack, expected = STACKS[name]
    model = networks.stacked(shape, *stack())
    assert_invariant(model, expected, networks.images(shape))


def functional(outputs_of, *shapes):
    inputs = [keras.Input(shape) for shape in shapes or (IMAGE,)]
    outputs = outputs_of(*inputs)
    inputs = inputs if len(inputs) > 1 else inputs[0]
    return networks.filled(keras.Model(inputs, outputs))


def residual(x, norm_after):
    """A convolution into an Add, normalized before it or behind it."""
    y = layers.ReLU()(networks.norm()(networks.conv("stem")(x)))
    z = networks.conv("branch")(y)
    if not norm_after:
        z = networks.norm()(z)
    y = layers.Add()([y, z])
    if norm_after:
        y = networks.norm()(y)
    return networks.ended(layers.ReLU()(y))


def test_a_convolution_normalized_before_the_sum_is_invariant():
    model = functional(lambda x: residual(x, norm_after=False))
    assert_invariant(model, {"stem", "branch"}, networks.images())


def test_a_convolution_normalized_behind_the_sum_is_not():
    """The other summand does not scale with it."""
    model = functional(lambda x: residual(x, norm_after=True))
    assert_invariant(model, {"stem"}, networks.images())


def test_both_summands_of_one_layer_are_undone_together():
    def outputs_of(x):
        y = networks.conv("first")(x)
        return networks.ended(networks.norm()(layers.ReLU()(y) + 2.0 * y))

    model = functional(outputs_of)
    assert_invariant(model, {"first"}, networks.images())


@pytest.mark.parametrize("both", (False, True))
def test_a_shared_layer_is_invariant_if_all_its_branches_are(both):
    shared = layers.Dense(4, name="shared")

    def outputs_of(x, y):
        a, b = networks.norm()(shared(x)), shared(y)
        if both:
            b = networks.norm()(b)
        return layers.Dense(2, name="head")(layers.Multiply()([a, b]))

    model = functional(outputs_of, VECTOR, VECTOR)
    inputs = [networks.images(VECTOR), networks.images(VECTOR, seed=1)]
    assert_invariant(model, {"shared"} if both else set(), inputs)


def test_a_layer_that_is_fed_by_itself_is_undone_in_the_second_degree():
    shared = layers.Dense(4, name="shared", use_bias=False)

    def outputs_of(x):
        y = shared(layers.ReLU()(shared(x)))
        return layers.Dense(2, name="head")(networks.norm()(y))

    model = functional(outputs_of, (4,))
    assert_invariant(model, {"shared"}, networks.images((4,)))
    first = scale_invariance.of_model(model)[0]
    assert first.normalizations[0].degrees.tolist() == [2] * 4


def test_concatenated_layers_are_undone_each_in_its_channels():
    def outputs_of(x):
        y = networks.conv("first", use_bias=True)(x)
        z = layers.ReLU()(networks.norm()(y))
        z = networks.conv("second", 2, use_bias=True)(z)
        y = networks.norm()(layers.Concatenate()([z, y]))
        return networks.ended(layers.ReLU()(y))

    model = functional(outputs_of)
    assert_invariant(model, {"first", "second"}, networks.images())


def test_a_concatenation_that_is_not_normalized_is_not_invariant():
    def outputs_of(x):
        y = networks.conv("first")(x)
        y = layers.Concatenate()([networks.norm()(y), y])
        return networks.ended(y)

    model = functional(outputs_of)
    assert_invariant(model, set(), networks.images())


def test_a_second_output_without_normalization_counts():
    def outputs_of(x):
        y = networks.conv("first")(x)
        ends = [networks.norm()(y), y]
        return [networks.ended(end, f"head{i}") for i, end in enumerate(ends)]

    model = functional(outputs_of)
    assert_invariant(model, set(), networks.images())


def test_a_frozen_batch_normalization_undoes_nothing():
    model = networks.stacked(IMAGE, *plain())
    model.layers[1].trainable = False
    assert_invariant(model, {"second"}, networks.images())


@keras_features.needs_renormalization
def test_batch_renormalization_undoes_nothing():
    stack = normalized_by(layers.BatchNormalization(renorm=True), True)
    model = networks.stacked(VECTOR, *stack)
    found = scale_invariance.of_model(model)
    assert not any(one.is_invariant for one in found)


def with_call(training, nested):
    """Batch normalization called with `training`, itself or a model of it."""

    def outputs_of(x):
        y = layers.Dense(4, name="first")(x)
        norm = networks.norm()
        if nested:
            norm = keras.Sequential([keras.Input((4,)), norm])
        return layers.Dense(2, name="head")(norm(y, training=training))

    return functional(outputs_of, VECTOR)


@pytest.mark.parametrize("nested", (False, True))
def test_batch_normalization_called_for_inference_is_not_relied_on(nested):
    (first, _) = scale_invariance.of_model(with_call(False, nested))
    assert first.is_invariant is False and first.normalizations == ()
    assert_invariant(
        with_call(True, nested), {"first"}, networks.images(VECTOR)
    )


@pytest.mark.parametrize("degree", (0, 1))
def test_a_normalization_cannot_undo_two_degrees_at_once(degree):
    shared = networks.norm()

    def outputs_of(x, y):
        a, b = (
            layers.Dense(4, name="first")(x),
            layers.Dense(4, name="second")(y),
        )
        ends = [shared(a), shared(a if degree else b)]
        return layers.Dense(2, name="head")(layers.Multiply()(ends))

    model = functional(outputs_of, VECTOR, VECTOR)
    found = scale_invariance.of_model(model)
    names = {one.weight_layer.name for one in found if one.is_invariant}
    assert names == ({"first"} if degree else set())


def test_an_offset_under_a_mask_is_not_relied_on():
    for use_bias, expected in ((False, {"embedding", "first"}), (True, set())):
        x = keras.Input((6,), dtype="int32")
        y = layers.Embedding(7, 3, mask_zero=True, name="embedding")(x)
        y = layers.Dense(4, use_bias=use_bias, name="first")(y)
        y = layers.GlobalAveragePooling1D()(networks.norm()(y))
        y = layers.Dense(2, name="head")(y)
        model = networks.filled(keras.Model(x, y))
        found = scale_invariance.of_model(model)
        names = {one.weight_layer.name for one in found if one.is_invariant}
        assert names == expected
        tokens = np.random.default_rng(0).integers(0, 7, size=(5, 6))
        changes = scale_invariance.confirm(model, found, tokens)
        assert all(
            change < ROUNDING
            for one, change in zip(found, changes, strict=True)
            if one.is_invariant
        )


def test_convolutions_in_two_kernels_are_invariant_in_both():
    model = networks.stacked(
        IMAGE,
        layers.SeparableConv2D(4, 3, name="separable"),
        networks.norm(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, name="depthwise"),
        networks.norm(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, name="head"),
    )
    expected = {"depthwise"} | {
        f"separable/{kind}_kernel" for kind in ("depthwise", "pointwise")
    }
    assert_invariant(model, expected, networks.images())


def test_no_layer_inside_a_recurrent_one_is_known():
    model = networks.stacked(
        (4, 3),
        layers.LSTM(3, name="lstm"),
        networks.norm(),
        layers.Dense(2, name="head"),
    )
    found = scale_invariance.of_model(model)
    known = [one.is_invariant for one in found]
    assert known == [None, None, False]
    changes = scale_invariance.confirm(model, found, networks.images((4, 3)))
    assert min(changes) > CHANGE


def test_a_model_without_a_graph_is_not_known_but_measured():
    class Own(keras.Model):
        def call(self, x, training=None):
            return super().call(x, training=training)

    x = keras.Input(VECTOR)
    y = networks.norm()(layers.Dense(4, name="first")(x))
    model = networks.filled(Own(x, layers.Dense(2, name="head")(y)))
    found = scale_invariance.of_model(model)
    assert [one.is_invariant for one in found] == [None, None]
    first, head = scale_invariance.confirm(
        model, found, networks.images(VECTOR)
    )
    # As no normalization is known, epsilon stayed 1e-3.
    assert ROUNDING < first < 1e-2 and head > CHANGE


def test_confirm_leaves_the_model_as_it_was():
    stack = dropout_between(False)
    model = networks.stacked(IMAGE, *stack)
    before = [keras.ops.convert_to_numpy(v.value) for v in model.variables]
    epsilon = stack[2].epsilon
    found = scale_invariance.of_model(model)
    scale_invariance.confirm(model, found, networks.images())
    for variable, value in zip(model.variables, before, strict=True):
        after = keras.ops.convert_to_numpy(variable.value)
        np.testing.assert_array_equal(after, value)
    assert stack[2].epsilon == epsilon and isinstance(epsilon, float)


def test_of_an_invariant_kernel_the_loss_has_no_gradient_along_it():
    """From L(c theta) = L(theta): <theta, grad L> = 0; epsilon is tiny here."""
    stack = plain()
    for norm in (stack[1], stack[5]):
        norm.epsilon = 1e-14
    model = networks.stacked(IMAGE, *stack)
    loss = keras.losses.MeanSquaredError(dtype="float64")
    gradients = models.gradients(
        model, loss, networks.images(), np.zeros((5, 2))
    )
    by_path = {
        id(v): keras.ops.convert_to_numpy(g)
        for v, g in zip(model.trainable_variables, gradients, strict=True)
    }
    for one in scale_invariance.of_model(model):
        kernel = one.weight_layer.kernel
        theta = keras.ops.convert_to_numpy(kernel.value)
        gradient = by_path[id(kernel)]
        along = abs(np.sum(theta * gradient))
        size = np.linalg.norm(theta) * np.linalg.norm(gradient)
        assert (along < 1e-11 * size) == one.is_invariant
