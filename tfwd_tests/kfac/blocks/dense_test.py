"""The block of Dense: rows are all axes but the last.

Covers `kronecker` and `rows`.
"""

import keras
import numpy as np
import pytest

from tfwd.kfac import blocks
from tfwd_tests.kfac.blocks import checking
from tfwd_tests.optimizers import harness


def rows_of(inputs, use_bias):
    rows = inputs.reshape(-1, inputs.shape[-1])
    return np.hstack([rows, np.ones((len(rows), 1))]) if use_bias else rows


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("middle", [(), (3,), (2, 3)])
def test_factors_and_matrix_equal_explicit_rows(middle, use_bias, dtype):
    inputs = checking.generator().normal(size=(4, *middle, 5)).astype(dtype)
    with harness.float64():
        layer = keras.layers.Dense(3, use_bias=use_bias, dtype=dtype)
        block = checking.assert_block_agrees(
            layer,
            inputs,
            rows_of(inputs, use_bias),
            lambda outputs: outputs.reshape(-1, 3),
        )
    assert block.kind == "dense"
    assert block.dtype == dtype
    n = 5 + use_bias
    assert block.factor_shapes == ((n, n), (3, 3))


def dense_block(inputs, dtype="float32"):
    layer = keras.layers.Dense(3, dtype=dtype)
    return blocks.block_for(checking.built(layer, inputs))


@pytest.mark.parametrize("mask_rank", [0, 1, 2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_and_mask_multiply_the_rows_of_inputs(weighted, mask_rank):
    random = checking.generator()
    inputs = random.normal(size=(4, 2, 3, 5)).astype("float32")
    gradient = random.normal(size=(4, 2, 3, 3)).astype("float32")
    weights = np.array([0.5, 0.0, 2.0, 1.0]) if weighted else None
    mask, of_rows = None, np.ones((4, 2, 3))
    if mask_rank:
        mask = random.uniform(size=(4, 2, 3)[:mask_rank]) < 0.6
        of_rows *= mask.reshape(*mask.shape, *(1,) * (3 - mask_rank))
    # What a mask leaves out sends no gradient back.
    gradient *= of_rows[..., None].astype("float32")
    if weighted:
        of_rows *= weights[:, None, None]
    block = dense_block(inputs)
    call = checking.call(block, inputs, [gradient], weights, mask)
    (a, a_count), (s, s_count) = block.statistics([call])
    truth = checking.moment(rows_of(inputs, True), of_rows.reshape(-1))
    assert checking.error(a, truth) <= 2e-6
    np.testing.assert_allclose(float(a_count), of_rows.sum(), rtol=1e-6)
    truth = checking.moment(gradient.reshape(-1, 3))
    assert checking.error(s, truth) <= 2e-6
    assert float(s_count) == 4


def test_masked_row_counts_if_a_gradient_comes_back_to_it():
    inputs = checking.generator().normal(size=(2, 3, 5)).astype("float32")
    gradient = np.zeros((2, 3, 3), "float32")
    gradient[0, 0, 1] = gradient[1, 2, 0] = 1.0
    mask = np.array([[False, True, False], [True, False, False]])
    block = dense_block(inputs)
    call = checking.call(block, inputs, [gradient], mask=mask)
    (a, count), _ = block.statistics([call])
    counts = np.array([1, 1, 0, 1, 0, 1])
    truth = checking.moment(rows_of(inputs, True), counts)
    assert checking.error(a, truth) <= 2e-6
    assert float(count) == 4


def test_mask_over_features_leaves_no_row_out():
    inputs = checking.generator().normal(size=(4, 5)).astype("float32")
    block = dense_block(inputs)
    mask = inputs > 0
    call = checking.call(block, inputs, [inputs[:, :3]], mask=mask)
    (a, count), _ = block.statistics([call])
    assert checking.error(a, checking.moment(rows_of(inputs, True))) <= 2e-6
    assert float(count) == 4


def test_two_calls_equal_one_on_all_positions():
    random = checking.generator()
    inputs = random.normal(size=(4, 7, 5)).astype("float32")
    gradient = random.normal(size=(4, 7, 3)).astype("float32")
    block = dense_block(inputs)
    whole = [checking.call(block, inputs, [gradient])]
    parts = [
        checking.call(block, inputs[:, part], [gradient[:, part]])
        for part in (slice(0, 2), slice(2, 7))
    ]
    assert block.positions(parts) == block.positions(whole) == 7
    for (one, one_count), (two, two_count) in zip(
        block.statistics(whole), block.statistics(parts), strict=True
    ):
        assert checking.error(two, checking.numpy(one)) <= 2e-6
        assert float(one_count) == float(two_count)


def test_bfloat16_is_cast_before_the_product():
    inputs = checking.generator().normal(size=(64, 5)).astype("float32")
    block = dense_block(inputs, dtype="mixed_bfloat16")
    call = checking.call(block, inputs, [inputs[:, :3]])
    rounded = checking.numpy(
        keras.ops.cast(checking.tensor(inputs, "bfloat16"), "float32")
    ).astype("float64")
    (a, _), (s, _) = block.statistics([call])
    assert block.dtype == "float32"
    assert checking.error(a, checking.moment(rows_of(rounded, True))) <= 2e-6
    assert checking.error(s, checking.moment(rounded[:, :3])) <= 2e-6
    # The error of a product in bfloat16 would show.
    assert checking.error(a, checking.moment(rows_of(inputs, True))) > 1e-5
