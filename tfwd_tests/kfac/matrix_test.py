"""The support matrix: every kind of layer, in a model, for every curvature."""

import keras
import numpy as np
import pytest
from keras import layers

import tfwd
from tfwd_tests.kfac import models
from tfwd_tests.optimizers import harness

TOLERANCE = 1e-10
CURVATURES = ("fisher", "gauss_newton", "empirical")


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def rest():
    return [layers.Flatten(), layers.Activation("tanh"), layers.Dense(3)]


# One example and one position: Kronecker factors are exact, whatever follows.
# A function of no argument that returns layers, and the shape of the example.
ONE_POSITION = {
    "dense": (lambda: [layers.Dense(4)], (5,)),
    "dense_on_sequences": (lambda: [layers.Dense(4)], (1, 5)),
    "conv1d": (lambda: [layers.Conv1D(4, 3)], (3, 2)),
    "conv2d": (lambda: [layers.Conv2D(4, (2, 3))], (2, 3, 2)),
    "depthwise_conv2d": (
        lambda: [layers.DepthwiseConv2D(2, depth_multiplier=2)],
        (2, 2, 3),
    ),
    "grouped_conv2d": (lambda: [layers.Conv2D(4, 2, groups=2)], (2, 2, 4)),
    "einsum_dense": (
        lambda: [
            layers.EinsumDense("abc,cde->abde", (1, 2, 4), bias_axes="de")
        ],
        (1, 5),
    ),
    "time_distributed": (
        lambda: [layers.TimeDistributed(layers.Dense(4))],
        (1, 5),
    ),
    "nested": (
        lambda: [keras.Sequential([layers.Dense(4), layers.Dense(4)])],
        (5,),
    ),
    # Kept whole for each channel: exact for any number of positions too.
    # One example at one position would be normalized to zero.
    "batch_normalization": (lambda: [layers.BatchNormalization()], (3, 4)),
    "layer_normalization": (lambda: [layers.LayerNormalization()], (5,)),
    "normalization_of_positions": (
        lambda: [layers.LayerNormalization()],
        (3, 4),
    ),
}


@pytest.mark.parametrize("curvature", CURVATURES)
@pytest.mark.parametrize("kind", ONE_POSITION)
def test_one_example_with_one_position_gives_the_dense_block(kind, curvature):
    stack, shape = ONE_POSITION[kind]
    model = models.built([*stack(), *rest()], shape)
    x = models.normal(1, *shape)
    y = models.targets_of("softmax", (1, 3))
    assert_exact(model, "softmax", curvature, x, y, 1)


def assert_exact(model, likelihood, curvature, x, y, positions, training=True):
    optimizer = models.attached(model, likelihood, curvature=curvature)
    optimizer.update_factors(x, y)
    found = optimizer.factors()
    truth = models.all_dense_blocks(optimizer, likelihood, x, y, training)
    for name, blocks in truth.items():
        scale = max(np.abs(block).max() for block in blocks)
        assert scale > 0
        actual = models.kronecker(found[name], positions)
        for one, other in zip(actual, blocks, strict=True):
            difference = np.abs(one - other).max()
            assert difference < TOLERANCE * scale, name


@pytest.mark.parametrize("curvature", CURVATURES)
def test_embedding_of_one_id_gives_the_dense_block(curvature):
    model = models.filled(
        keras.Sequential(
            [
                keras.Input((1,), dtype="int32"),
                layers.Embedding(4, 3),
                *rest(),
            ]
        )
    )
    y = models.targets_of("softmax", (1, 3))
    assert_exact(model, "softmax", curvature, np.array([[2]]), y, 1)


# Linear networks, several examples, a loss of every position.
SHARED = {
    "depthwise_conv2d": (
        lambda: [layers.DepthwiseConv2D(2, depth_multiplier=2)],
        (3, 3, 2),
        4,
    ),
    "grouped_conv2d": (lambda: [layers.Conv2D(4, 2, groups=2)], (3, 3, 4), 4),
    "einsum_dense": (
        lambda: [
            layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d"),
            layers.Dense(3),
        ],
        (3, 5),
        3,
    ),
    "time_distributed": (
        lambda: [layers.TimeDistributed(layers.Dense(4)), layers.Dense(3)],
        (3, 5),
        3,
    ),
}


@pytest.mark.parametrize("curvature", ("fisher", "gauss_newton"))
@pytest.mark.parametrize("kind", SHARED)
def test_linear_weight_sharing_gives_the_dense_block(kind, curvature):
    stack, shape, positions = SHARED[kind]
    model = models.built(stack(), shape)
    x = models.normal(3, *shape)
    assert_exact(model, "gaussian", curvature, x, None, positions)


@pytest.mark.parametrize("curvature", ("fisher", "gauss_newton"))
def test_tied_dense_with_an_output_per_call_gives_the_dense_block(curvature):
    one, two = keras.Input((1, 5)), keras.Input((1, 5))
    tied = layers.Dense(3, name="tied")
    outputs = layers.Concatenate(axis=1)([tied(one), tied(two)])
    model = models.filled(keras.Model([one, two], outputs))
    x = [models.normal(4, 1, 5), models.normal(4, 1, 5, seed=1)]
    assert_exact(model, "gaussian", curvature, x, None, 2)


def attention(w, x, shifts):
    """Returns the output, heads in the kernels; complex numbers are welcome.

    Args:
        w: Kernels and biases of query, key, value and output.
        x: [positions, features].
        shifts: Added to the pre-activations, by name.
    """
    q, k, v = (
        np.einsum("tf,fhd->thd", x, w[name][0]) + w[name][1] + shifts[name]
        for name in ("query", "key", "value")
    )
    scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[-1])
    p = np.exp(scores)
    p = p / p.sum(axis=-1, keepdims=True)
    mixed = np.einsum("hts,shd->thd", p, v)
    kernel, bias = w["attention_output"]
    z = np.einsum("thd,hdo->to", mixed, kernel) + bias
    return z + shifts["attention_output"], mixed


# JAX' own attention, which Keras calls, has its softmax in float32.
ATTENTION_TOLERANCE = TOLERANCE if harness.BACKEND == "tensorflow" else 1e-5


@pytest.mark.many
@pytest.mark.parametrize("curvature", CURVATURES)
def test_factors_of_attention_are_their_definition(curvature):
    # Gradients by complex steps, which have no error of their own.
    # Keras rounds 1/√d to float32, which holds 1/√4.
    t, f, h, d = 3, 4, 2, 4
    inputs = keras.Input((t, f))
    layer = layers.MultiHeadAttention(h, d, name="mha")
    model = models.filled(keras.Model(inputs, layer(inputs, inputs)))
    x, y = models.normal(1, t, f), models.normal(1, t, f, seed=1)
    found = models.factors(model, "gaussian", x, y, curvature=curvature)
    inner = {
        name: getattr(layer, f"_{name}_dense")
        for name in ("query", "key", "value")
    }
    inner["attention_output"] = layer._output_dense
    w = {name: dense.get_weights() for name, dense in inner.items()}
    sizes = dict.fromkeys(("query", "key", "value"), (t, h, d))
    sizes["attention_output"] = (t, f)
    zero = {name: np.zeros(size) for name, size in sizes.items()}
    z, mixed = attention(w, x[0], zero)
    hessian = models.hessians(model, "gaussian", curvature, x, y)
    np.testing.assert_allclose(
        z, keras.ops.convert_to_numpy(model(x))[0], atol=ATTENTION_TOLERANCE
    )
    for name, dense in inner.items():
        rows = np.reshape(mixed if "output" in name else x[0], (t, -1))
        rows = np.hstack([rows, np.ones((t, 1))])
        jacobian = np.zeros((t, f, *sizes[name]))
        for place in np.ndindex(*sizes[name]):
            shift = zero[name].astype("complex")
            shift[place] = 1e-30j
            moved, _ = attention(w, x[0], zero | {name: shift})
            jacobian[(..., *place)] = moved.imag / 1e-30
        j = jacobian.reshape((t, f, t, -1))
        # Means over predictions (H) and over the layer's positions.
        g = np.einsum("pksm,pkl,plsn->mn", j, hessian, j) / t / t
        if "value" in name or "output" in name:
            assert np.abs(g).max() > 1e-3
        a, actual_g = found[dense.name]
        assert models.error([a], [rows.T @ rows / t]) < ATTENTION_TOLERANCE
        assert models.error([actual_g], [g]) < ATTENTION_TOLERANCE


def lora():
    layer = layers.Dense(4, name="lora")
    layer.build((None, 5))
    layer.enable_lora(2)
    return layer


REFUSED = {
    "SeparableConv2D": (lambda: layers.SeparableConv2D(3, 2), (3, 3, 2)),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(3, 2), (3, 3, 2)),
    "LSTM": (lambda: layers.LSTM(3), (3, 2)),
    "GRU": (lambda: layers.GRU(3), (3, 2)),
    "LoRA": (lora, (5,)),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(2)), (3, 2)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_unsupported_layers_are_named_or_left_to_sgd(kind):
    make, shape = REFUSED[kind]
    layer = make()
    model = models.built([layer, layers.Flatten(), layers.Dense(2)], shape)
    owners = [
        one
        for one in layer._flatten_layers()
        if kind == "LoRA" or one.name.split("_")[0] != "bidirectional"
    ]
    with pytest.raises(ValueError) as caught:
        tfwd.KFAC().attach(model, models.loss_of("gaussian"))
    assert any(one.name in str(caught.value) for one in owners)

    optimizer = tfwd.KFAC(0.5, momentum=0.0, on_unsupported="sgd")
    report = optimizer.attach(model, models.loss_of("gaussian"))
    own = model.trainable_variables[:-2]
    assert {row.path for row in report.uncovered} == {v.path for v in own}
    assert all(row.layer and row.reason for row in report.uncovered)
    optimizer.update_factors(models.normal(2, *shape))
    optimizer.update_inverses()
    before = [keras.ops.convert_to_numpy(v) for v in own]
    gradients = [
        models.normal(*v.shape, seed=i)
        for i, v in enumerate(model.trainable_variables)
    ]
    optimizer.apply(
        [keras.ops.convert_to_tensor(g, "float64") for g in gradients],
        model.trainable_variables,
    )
    for variable, old, gradient in zip(
        own, before, gradients[:-2], strict=True
    ):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(variable),
            old - gradient.astype(old.dtype) / 2,
        )
