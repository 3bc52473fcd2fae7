"""What the factors do not depend on, and how weights and masks enter them."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import tfwd
from tfwd_tests import marks
from tfwd_tests.kfac import models

# Sums of float64 products in another order.
TOLERANCE = 1e-10
HEAD = "softmax"


@pytest.fixture(autouse=True)
def in_float64():
    with models.float64():
        yield


def network():
    return models.built(
        [layers.Dense(4, activation="tanh"), layers.Dense(3)], (5,)
    )


def parts(found):
    """Returns all factors of all layers, as a list."""
    return [factor for pair in found.values() for factor in pair]


def test_factors_of_a_batch_are_the_mean_of_its_halves():
    model, x = network(), models.normal(8, 5)
    optimizer = models.attached(model, HEAD, factor_decay=0.0)
    found = []
    for batch in (x, x[:4], x[4:]):
        optimizer.update_factors(batch)
        found.append(parts(optimizer.factors()))
    whole, *halves = found
    mean = [(one + two) / 2 for one, two in zip(*halves, strict=True)]
    assert models.error(whole, mean) < TOLERANCE


@pytest.mark.parametrize("reduction", ("sum", "none", "mean"))
def test_factors_do_not_depend_on_the_reduction_of_the_loss(reduction):
    model, x = network(), models.normal(6, 5)
    truth = parts(models.factors(model, HEAD, x))
    optimizer = tfwd.KFAC(estimation="exact")
    optimizer.attach(
        model,
        keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction=reduction, dtype="float64"
        ),
    )
    optimizer.update_factors(x)
    found = parts(optimizer.factors())
    for one, other in zip(found, truth, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("jit_compile", (False, *marks.many(True)))
@pytest.mark.parametrize("scaled", (False, *marks.many(True)))
def test_factors_in_training_do_not_depend_on_loss_scale_or_compiler(
    scaled, jit_compile
):
    model, x = network(), models.normal(6, 5)
    y = models.targets_of(HEAD, (6, 3))
    truth = parts(models.factors(model, HEAD, x))
    inner = tfwd.KFAC(1e-3, estimation="exact")
    outer = inner
    if scaled:
        outer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**9)
    model.compile(outer, loss=models.loss_of(HEAD), jit_compile=jit_compile)
    tfwd.attach(model)
    model.train_on_batch(x, y)
    assert models.error(parts(inner.factors()), truth) < TOLERANCE


def test_weights_of_zero_and_one_drop_examples():
    # Keras divides by the batch size all the same, and G with it; A is a mean
    # over the examples that are left.
    model, x = network(), models.normal(6, 5)
    weights = np.array([1.0, 0, 1, 1, 0, 1])
    weighted = models.factors(model, HEAD, x, sample_weight=weights)
    dropped = models.factors(model, HEAD, x[weights > 0])
    for name, (a, g) in dropped.items():
        found = weighted[name]
        assert models.error(found, [a, 4 / 6 * g]) < TOLERANCE


def padded_networks():
    """Returns networks with a block of every kind, and inputs of 6 rows."""
    convolution = [
        layers.Conv2D(3, 2, activation="tanh"),
        layers.DepthwiseConv2D(2),
        layers.LayerNormalization(),
        layers.Flatten(),
        layers.Dense(3),
    ]
    sequence = [
        layers.EinsumDense("abc,cd->abd", (2, 4), bias_axes="d"),
        layers.Activation("tanh"),
        layers.Flatten(),
        layers.Dense(3),
    ]
    return {
        "dense": (network(), (6, 5)),
        "convolution": (models.built(convolution, (4, 4, 2)), (6, 4, 4, 2)),
        "einsum": (models.built(sequence, (2, 5)), (6, 2, 5)),
    }


@pytest.mark.parametrize("curvature", ("fisher", "gauss_newton", "empirical"))
@pytest.mark.parametrize("estimation", ("sampled", "exact"))
@pytest.mark.parametrize(
    "name", ("dense", *marks.many("convolution", "einsum"))
)
def test_padding_of_weight_0_does_not_count_whatever_it_holds(
    name, estimation, curvature
):
    """Features of NaN, infinity and what overflows, and labels of NaN."""
    model, shape = padded_networks()[name]
    weights = np.array([1.0, 2.0, 1.0, 0, 0, 0])
    x, y = models.normal(*shape), models.normal(6, 3)
    x[3], x[4], x[5] = np.nan, np.inf, 1e300
    y[3:] = np.nan
    found = []
    # The rows that are left come first, so that they sample the same vectors.
    for rows in (6, 3):
        optimizer = models.attached(
            model, "gaussian", estimation=estimation, curvature=curvature
        )
        optimizer.update_factors(x[:rows], y[:rows], weights[:rows])
        found.append(optimizer.factors())
    padded, without = found
    for layer, factors in without.items():
        # G, or F, is a mean over all rows, as Keras takes the loss.
        *a, g = factors
        assert models.error(padded[layer], [*a, g / 2]) < TOLERANCE


def test_labels_of_padding_do_not_spread_through_batch_normalization():
    model = models.built(
        [layers.Dense(4), layers.BatchNormalization(), layers.Dense(3)], (5,)
    )
    x, y = models.normal(6, 5), models.normal(6, 3)
    weights = np.array([1.0, 2.0, 1.0, 0, 0, 0])
    found = []
    for label in (0.0, np.nan):
        y[3:] = label
        optimizer = models.attached(model, "gaussian", curvature="empirical")
        optimizer.update_factors(x, y, weights)
        found.append(parts(optimizer.factors()))
    assert models.error(*found) == 0


@pytest.mark.parametrize("positions", (1, 3))
def test_weighted_factors_of_linear_networks_are_the_dense_matrix(positions):
    model = models.built([layers.Dense(4), layers.Dense(3)], (positions, 5))
    x = models.normal(6, positions, 5)
    weights = np.linspace(0.1, 2.0, 6)
    optimizer = models.attached(model, "gaussian")
    optimizer.update_factors(x, None, weights)
    found = optimizer.factors()
    jacobian = models.jacobians(model, x)
    hessian = models.hessians(model, "gaussian", "fisher", x)
    hessian = hessian * np.repeat(weights, positions)[:, None, None]
    for block in optimizer.attachment.blocks:
        truth = models.dense_blocks(block, jacobian, hessian)
        actual = models.kronecker(found[block.layer.name], positions)
        assert models.error(actual, truth) < TOLERANCE


def test_masked_factors_are_the_matrix_of_the_loss_as_keras_averages_it():
    # Over the positions that are left. Exact, since the network is linear.
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [4, 2, 1, 3]])
    model = models.filled(
        keras.Sequential(
            [
                keras.Input((4,), dtype="int32"),
                layers.Embedding(5, 4, mask_zero=True, name="embedding"),
                layers.Dense(3, name="dense"),
            ]
        )
    )
    optimizer = models.attached(model, "gaussian")
    optimizer.update_factors(ids)
    found = optimizer.factors()
    left = (ids > 0).ravel()
    y = models.normal(3, 4, 3)
    loss = models.loss_of("gaussian")
    z = model(ids)
    each = np.mean((keras.ops.convert_to_numpy(z) - y) ** 2, axis=-1)
    np.testing.assert_allclose(float(loss(y, z)), each.ravel()[left].mean())
    jacobian = {
        key: part[left] for key, part in models.jacobians(model, ids).items()
    }
    hessian = models.hessians(model, "gaussian", "fisher", ids)[left]
    for block in optimizer.attachment.blocks:
        truth = models.dense_blocks(block, jacobian, hessian)
        actual = models.kronecker(found[block.layer.name], 4)
        assert models.error(actual, truth) < TOLERANCE, block.layer.name


def test_a_mask_that_nothing_heeds_leaves_no_row_out():
    # Flatten drops the mask: padding is input as any other.
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not support masking")
        model = models.filled(
            keras.Sequential(
                [
                    keras.Input((4,), dtype="int32"),
                    layers.Embedding(5, 4, mask_zero=True, name="embedding"),
                    layers.Flatten(),
                    layers.Dense(3, name="dense"),
                ]
            )
        )
        optimizer = models.attached(model, "gaussian")
        optimizer.update_factors(ids)
    frequencies, _ = optimizer.factors()["embedding"]
    expected = np.bincount(ids.ravel(), minlength=5) / ids.size
    np.testing.assert_allclose(frequencies, expected, rtol=1e-12)


def test_a_pass_drops_what_the_next_training_step_drops_and_changes_nothing():
    model = models.built(
        [
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, seed=3),
            layers.Dense(3, name="dense"),
        ],
        (8,),
    )
    x = 1.0 + models.normal(6, 8)
    optimizer = models.attached(model, "gaussian")
    before = [keras.ops.convert_to_numpy(v) for v in model.variables]
    optimizer.update_factors(x)
    after = [keras.ops.convert_to_numpy(v) for v in model.variables]
    for one, other in zip(after, before, strict=True):
        np.testing.assert_array_equal(one, other)
    a, _ = optimizer.factors()["dense"]
    # The step's own input of the last layer, dropped in training mode.
    hidden = model.layers[0](x, training=True)
    hidden = keras.ops.convert_to_numpy(model.layers[1](hidden, training=True))
    assert np.mean(hidden == 0) > 0.2
    rows = np.hstack([hidden, np.ones((6, 1))])
    assert models.error([a], [rows.T @ rows / 6]) < TOLERANCE


def test_factors_under_mixed_precision_are_within_its_rounding():
    # bfloat16 has 8 bits: products of a few rounded numbers are within 2e-2.
    x = models.normal(16, 5).astype("float32")
    found = []
    for policy in ("float32", "mixed_bfloat16"):
        model = models.built(
            [
                layers.Dense(4, activation="tanh", dtype=policy, name="one"),
                layers.Dense(3, dtype=policy, name="two"),
            ],
            (5,),
        )
        found.append(parts(models.factors(model, HEAD, x)))
    exact, rounded = found
    assert {factor.dtype.name for factor in rounded} == {"float32"}
    for one, other in zip(rounded, exact, strict=True):
        assert 0 < models.error([one], [other]) < 2e-2
