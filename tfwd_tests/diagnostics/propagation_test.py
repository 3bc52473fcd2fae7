"""What is said of how a network scales is what it does.

The truth is the network itself with the kernel of the layer `scaled`
multiplied by 1, 2 and 4: with x(c) = c^d z + o in a channel, x(4) - x(2) is
2^d (x(2) - x(1)), and o = (2^d x(1) - x(2)) / (2^d - 1) is one number there.

Covers `propagation`, `degrees`, `kernels`, `channel_rules`, `linear_rules` and
`normalization_rules`.
"""

import keras
import numpy as np
import pytest
from keras import layers

from tfwd.diagnostics.scale_invariance import graph
from tfwd.diagnostics.scale_invariance import propagation
from tfwd.diagnostics.scale_invariance import weight_layers
from tfwd_tests.diagnostics import networks
from tfwd_tests.kfac import models

# Sums of about a hundred float64 products.
TOLERANCE = 1e-10


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def described(model, with_bias=False):
    """Returns the `Scaling` of the only output, or None."""
    by_name = {one.name: one for one in weight_layers.of_model(model)}
    (output,) = propagation.propagate(
        graph.of_model(model), by_name["scaled"], with_bias=with_bias
    ).outputs
    return output


def multiplied(model, inputs, factor, with_bias):
    """Returns the output of the model in training, as a numpy array."""
    layer = model.get_layer("scaled")
    changed = [layer.kernel, *([layer.bias] if with_bias else [])]
    mapping = [(v, keras.ops.convert_to_tensor(v.value)) for v in model.weights]
    mapping = [
        (v, factor * value if any(v is one for one in changed) else value)
        for v, value in mapping
    ]
    with keras.StatelessScope(mapping):
        return keras.ops.convert_to_numpy(model(inputs, training=True))


def assert_true(model, scaling, inputs, with_bias=False):
    one, two, four = (
        multiplied(model, inputs, factor, with_bias) for factor in (1.0, 2, 4)
    )
    size = np.max(np.abs(four))
    powers = 2.0**scaling.degrees
    np.testing.assert_allclose(
        four - two, powers * (two - one), rtol=0, atol=TOLERANCE * size
    )
    fixed = scaling.degrees == 0
    offset = powers * one - two
    offset = np.where(fixed, two - one, offset / np.where(fixed, 1, powers - 1))
    offset = np.reshape(offset, (-1, offset.shape[-1]))
    if not scaling.has_offset:
        offset = np.concatenate([offset, np.zeros_like(offset[:1])])
    assert np.max(np.ptp(offset, axis=0)) < TOLERANCE * size


SHAPES = {"vector": (5,), "sequence": (6, 3), "image": (6, 6, 3)}
KERNELS = {
    "vector": lambda **a: layers.Dense(4, name="scaled", **a),
    "sequence": lambda **a: layers.Conv1D(4, 2, name="scaled", **a),
    "image": lambda **a: layers.Conv2D(4, 3, name="scaled", **a),
}
# What follows `scaled`, the degree of its result if `scaled` has no bias, and
# whether it is known (and has an offset) if it has.
ROWS = {
    "nothing": ("image", lambda: [], 1, True),
    "conv_valid": ("image", lambda: [layers.Conv2D(3, 2)], 1, True),
    "conv_same": (
        "image",
        lambda: [layers.Conv2D(3, 2, padding="same")],
        1,
        False,
    ),
    "conv_1x1_same": (
        "image",
        lambda: [layers.Conv2D(3, 1, strides=2, padding="same")],
        1,
        True,
    ),
    "conv_causal": (
        "sequence",
        lambda: [layers.Conv1D(3, 2, padding="causal")],
        1,
        False,
    ),
    "conv_grouped": ("image", lambda: [layers.Conv2D(4, 2, groups=2)], 1, True),
    "conv_transpose": (
        "image",
        lambda: [layers.Conv2DTranspose(2, 2)],
        1,
        False,
    ),
    "depthwise": (
        "image",
        lambda: [layers.DepthwiseConv2D(2, depth_multiplier=2)],
        1,
        True,
    ),
    "separable": ("image", lambda: [layers.SeparableConv2D(3, 2)], 1, True),
    "dense": ("image", lambda: [layers.Dense(3)], 1, True),
    "dense_relu": (
        "vector",
        lambda: [layers.Dense(3, activation="relu")],
        None,
        False,
    ),
    "einsum": (
        "sequence",
        lambda: [layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d")],
        1,
        False,
    ),
    "einsum_positions": (
        "sequence",
        lambda: [layers.EinsumDense("abc,cd->abd", (5, 3), bias_axes="bd")],
        None,
        False,
    ),
    "relu": ("image", lambda: [layers.ReLU(negative_slope=0.2)], 1, False),
    "relu_bounded": (
        "image",
        lambda: [layers.ReLU(max_value=6.0)],
        None,
        False,
    ),
    "relu_threshold": (
        "image",
        lambda: [layers.ReLU(threshold=1.0)],
        None,
        False,
    ),
    "leaky_relu": ("vector", lambda: [layers.LeakyReLU()], 1, False),
    "prelu": ("vector", lambda: [layers.PReLU()], 1, False),
    "activation_relu": (
        "vector",
        lambda: [layers.Activation("relu")],
        1,
        False,
    ),
    "activation_linear": (
        "vector",
        lambda: [layers.Activation("linear")],
        1,
        True,
    ),
    "tanh": ("vector", lambda: [layers.Activation("tanh")], None, False),
    "sigmoid": ("vector", lambda: [layers.Activation("sigmoid")], None, False),
    "softmax": ("vector", lambda: [layers.Softmax()], None, False),
    "gelu": ("vector", lambda: [layers.Activation("gelu")], None, False),
    "elu": ("vector", lambda: [layers.ELU()], None, False),
    "lambda": ("vector", lambda: [layers.Lambda(lambda x: x)], None, False),
    "rescaling": ("vector", lambda: [layers.Rescaling(2.0, 1.0)], None, False),
    "max": ("image", lambda: [layers.MaxPooling2D(2)], 1, True),
    "max_same": (
        "image",
        lambda: [layers.MaxPooling2D(3, padding="same")],
        1,
        False,
    ),
    "average": ("image", lambda: [layers.AveragePooling2D(2)], 1, True),
    "average_same": (
        "image",
        lambda: [layers.AveragePooling2D(3, padding="same")],
        1,
        False,
    ),
    "global_max": ("sequence", lambda: [layers.GlobalMaxPooling1D()], 1, True),
    "global_average": (
        "image",
        lambda: [layers.GlobalAveragePooling2D()],
        1,
        True,
    ),
    "dropout": ("image", lambda: [layers.Dropout(0.5, seed=1)], 1, False),
    "spatial_dropout": (
        "image",
        lambda: [layers.SpatialDropout2D(0.5, seed=1)],
        1,
        False,
    ),
    "gaussian_dropout": (
        "vector",
        lambda: [layers.GaussianDropout(0.5, seed=1)],
        1,
        False,
    ),
    "alpha_dropout": (
        "vector",
        lambda: [layers.AlphaDropout(0.5, seed=1)],
        None,
        False,
    ),
    "gaussian_noise": (
        "vector",
        lambda: [layers.GaussianNoise(0.5, seed=1)],
        None,
        False,
    ),
    "zero_padding": ("image", lambda: [layers.ZeroPadding2D(1)], 1, False),
    "up_sampling": ("image", lambda: [layers.UpSampling2D(2)], 1, False),
    "cropping": ("image", lambda: [layers.Cropping2D(1)], 1, True),
    "flatten": ("image", lambda: [layers.Flatten()], 1, True),
    "flatten_dense": (
        "image",
        lambda: [layers.Flatten(), layers.Dense(2)],
        1,
        True,
    ),
    "reshape": ("image", lambda: [layers.Reshape((8, 8))], 1, False),
    "permute": ("image", lambda: [layers.Permute((3, 1, 2))], 1, False),
    "repeat": ("vector", lambda: [layers.RepeatVector(3)], 1, True),
    "identity": ("vector", lambda: [layers.Identity()], 1, True),
    "regularized": (
        "vector",
        lambda: [layers.ActivityRegularization()],
        1,
        True,
    ),
    "lstm": ("sequence", lambda: [layers.LSTM(2)], None, False),
    "distributed": (
        "sequence",
        lambda: [layers.TimeDistributed(layers.Dense(2))],
        None,
        False,
    ),
    "inner_model": (
        "vector",
        lambda: [keras.Sequential([keras.Input((4,)), layers.ReLU()])],
        1,
        False,
    ),
}


@pytest.mark.parametrize("use_bias", (False, True))
@pytest.mark.parametrize("row", ROWS)
def test_a_network_scales_as_it_is_said_to(row, use_bias):
    form, following, degree, known_with_bias = ROWS[row]
    stack = [KERNELS[form](use_bias=use_bias), *following()]
    model = networks.stacked(SHAPES[form], *stack)
    found = described(model)
    if degree is None or (use_bias and not known_with_bias):
        assert found is None
        return
    assert found.degree == degree
    if use_bias:
        assert found.has_offset
    assert_true(model, found, networks.images(SHAPES[form]))


@pytest.mark.parametrize("row", ROWS)
def test_with_its_bias_a_layer_scales_as_one_without(row):
    form, following, degree, _ = ROWS[row]
    stack = [KERNELS[form](use_bias=True), *following()]
    model = networks.stacked(SHAPES[form], *stack)
    found = described(model, with_bias=True)
    if degree is None:
        assert found is None
        return
    assert found.degree == degree
    assert_true(model, found, networks.images(SHAPES[form]), with_bias=True)


def joined(join, *, use_bias=False, other="other"):
    """Joins `scaled` with a layer that is not scaled, or with itself."""
    x = keras.Input((5,))
    first = layers.Dense(4, use_bias=use_bias, name="scaled")
    second = first if other == "scaled" else layers.Dense(4, name=other)
    a, b = first(x), second(x)
    return networks.filled(keras.Model(x, join(a, b)))


PAIRS = {
    "concatenated": (
        lambda a, b: layers.Concatenate()([a, b]),
        [1] * 4 + [0] * 4,
    ),
    "added": (lambda a, b: layers.Add()([a, b]), None),
    "plus": (lambda a, b: a + b, None),
    "multiplied": (lambda a, b: layers.Multiply()([a, b]), [1] * 4),
    "times": (lambda a, b: a * b, [1] * 4),
    "maximum": (lambda a, b: layers.Maximum()([a, b]), None),
    "twice": (lambda a, b: layers.Add()([a, 2 * a]), [1] * 4),
    "minus": (lambda a, b: a / 2 - 3 * a, [1] * 4),
    "largest": (lambda a, b: layers.Maximum()([a, -a]), [1] * 4),
    "average": (lambda a, b: layers.Average()([a, -2 * a]), [1] * 4),
    "square": (lambda a, b: a * a, [2] * 4),
    "square_and_one": (lambda a, b: layers.Add()([a * a, a]), None),
    "plus_number": (lambda a, b: a + 1.0, None),
    "over": (lambda a, b: 1.0 / a, None),
    "operations": (lambda a, b: keras.ops.relu(-a), [1] * 4),
    "tanh": (lambda a, b: keras.ops.tanh(a), None),
    "rows": (
        lambda a, b: layers.Concatenate(axis=1)(
            [layers.RepeatVector(2)(a), layers.RepeatVector(1)(a)]
        ),
        [1] * 4,
    ),
    "unequal_rows": (
        lambda a, b: layers.Concatenate(axis=1)(
            [layers.RepeatVector(2)(a), layers.RepeatVector(1)(b)]
        ),
        None,
    ),
    "mixed": (lambda a, b: layers.Dense(2)(layers.Concatenate()([a, b])), None),
    "flattened": (
        lambda a, b: layers.Flatten()(
            layers.RepeatVector(2)(layers.Concatenate()([a, b]))
        ),
        ([1] * 4 + [0] * 4) * 2,
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_branches_join_as_they_are_said_to(name):
    join, expected = PAIRS[name]
    model = joined(join)
    found = described(model)
    if expected is None:
        assert found is None
        return
    assert found.degrees.tolist() == expected
    assert_true(model, found, networks.images((5,)))


@pytest.mark.parametrize(
    ("name", "is_known"),
    [("multiplied", False), ("largest", False), ("rows", False)]
    + [("concatenated", True), ("twice", True), ("minus", True)],
)
def test_branches_with_an_offset_join_as_they_are_said_to(name, is_known):
    model = joined(PAIRS[name][0], use_bias=True)
    found = described(model)
    assert (found is not None) == is_known
    if is_known:
        assert found.has_offset
        assert_true(model, found, networks.images((5,)))


def test_depthwise_convolution_keeps_the_degrees_of_its_channels():
    x = keras.Input((6, 6, 3))
    a, b = networks.conv("scaled")(x), networks.conv("other", 2)(x)
    y = layers.Concatenate()([a, b])
    y = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=True)(y)
    model = networks.filled(keras.Model(x, y))
    found = described(model)
    assert found.degrees.tolist() == [1] * 8 + [0] * 4
    assert_true(model, found, networks.images())


@pytest.mark.parametrize("use_bias", (False, True))
def test_a_layer_that_feeds_itself_scales_with_the_square(use_bias):
    dense = layers.Dense(4, use_bias=use_bias, name="scaled")
    x = keras.Input((4,))
    model = networks.filled(keras.Model(x, dense(dense(x))))
    found = described(model)
    if use_bias:
        assert found is None
        assert described(model, with_bias=True) is None
        return
    assert found.degree == 2
    assert_true(model, found, networks.images((4,)))


class Tied(layers.Layer):
    def __init__(self, encoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder

    def call(self, x):
        return keras.ops.matmul(x, keras.ops.transpose(self.encoder.kernel))


@pytest.mark.parametrize("with_bias", (False, True))
def test_what_reads_the_kernel_elsewhere_is_not_known(with_bias):
    encoder = layers.Dense(4, name="scaled")
    x = keras.Input((5,))
    y = layers.BatchNormalization()(encoder(x))
    tied = networks.filled(keras.Model(x, Tied(encoder)(y)))
    assert described(tied, with_bias) is None
    by_operation = keras.Model(x, keras.ops.matmul(x, encoder.kernel))
    by_operation = keras.Model(x, layers.Add()([by_operation(x), encoder(x)]))
    assert described(by_operation, with_bias) is None


class Bent(layers.Dense):
    def call(self, x):
        return keras.ops.tanh(super().call(x))


def test_a_subclass_of_a_known_layer_is_not_known():
    assert described(networks.stacked((4,), Bent(3, name="scaled"))) is None
    stack = [layers.Dense(3, name="scaled"), Bent(2)]
    assert described(networks.stacked((4,), *stack)) is None


def undone(model, name="scaled"):
    by_name = {one.name: one for one in weight_layers.of_model(model)}
    return propagation.undone_by(model, by_name[name])


def test_undone_by_names_the_channels_that_a_concatenation_took_from_a_layer():
    x = keras.Input((6, 6, 3))
    first, last = networks.norm(name="first"), networks.norm(name="last")
    y = networks.conv("scaled", use_bias=True)(x)
    z = networks.conv("other", 2)(layers.ReLU()(first(y)))
    y = last(layers.AveragePooling2D(2)(layers.Concatenate()([z, y])))
    model = networks.filled(keras.Model(x, networks.ended(y)))
    found = undone(model)
    assert [layer.name for layer, _ in found] == ["first", "last"]
    assert [degrees.tolist() for _, degrees in found] == [
        [1] * 4,
        [0] * 2 + [1] * 4,
    ]
    ((layer, degrees),) = undone(model, "other")
    assert layer is last and degrees.tolist() == [1] * 2 + [0] * 4
    assert undone(model, "head") is None


def test_statistics_of_the_batch_scale_as_undone_by_says():
    x = keras.Input((5,))
    shared = layers.Dense(4, use_bias=False, name="scaled")
    y = shared(layers.ReLU()(shared(layers.Dense(4)(x))))
    y = networks.norm(name="norm", momentum=0.0)(y)
    model = networks.filled(keras.Model(x, layers.Dense(2)(y)))
    ((layer, degrees),) = undone(model)
    assert degrees.tolist() == [2] * 4
    seen = []
    for factor in (1.0, 3.0):
        shared.kernel.assign(factor * shared.kernel.value)
        model(networks.images((5,)), training=True)
        seen.append(
            [
                keras.ops.convert_to_numpy(v.value)
                for v in (layer.moving_mean, layer.moving_variance)
            ]
        )
    (mean, variance), (scaled_mean, scaled_variance) = seen
    np.testing.assert_allclose(scaled_mean, 3.0**degrees * mean)
    np.testing.assert_allclose(scaled_variance, 9.0**degrees * variance)


def test_undone_by_refuses_a_normalization_of_an_offset_that_stays():
    """The bias of a layer between is in its moving mean."""
    for use_bias in (False, True):
        model = networks.stacked(
            (5,),
            layers.Dense(4, name="scaled"),
            layers.Dense(4, use_bias=use_bias),
            networks.norm(),
        )
        assert (undone(model) is None) == use_bias


def test_undone_by_is_none_without_a_graph():
    class Own(keras.Model):
        def call(self, x):
            return super().call(x)

    x = keras.Input((5,))
    y = networks.norm()(layers.Dense(4, name="scaled")(x))
    assert undone(keras.Model(x, y)) is not None
    assert undone(Own(x, y)) is None
