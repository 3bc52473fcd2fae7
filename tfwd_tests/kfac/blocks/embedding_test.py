"""The block of Embedding, held against a Dense layer on one-hot inputs."""

import keras
import numpy as np
import pytest

from tfwd.kfac import blocks
from tfwd_tests.kfac.blocks import checking
from tfwd_tests.optimizers import harness

IDS = np.array([[0, 3, 3, 1], [2, 0, 3, 4], [4, 4, 0, 0]])


def embedding_block(mask_zero=False, dtype="float32"):
    layer = keras.layers.Embedding(6, 3, mask_zero=mask_zero, dtype=dtype)
    layer.build()
    return blocks.block_for(layer)


def statistics(
    block, weights=None, mask=None, ids=IDS, ids_dtype="int32", heeded=True
):
    gradient = checking.generator().normal(size=(*ids.shape, 3))
    # What a mask leaves out sends no gradient back.
    gradient = np.where(np.expand_dims(heeded, -1), gradient, 0)
    call = blocks.Call(
        block.features(checking.tensor(ids, ids_dtype), block.layer.call),
        (checking.tensor(gradient, block.dtype),),
        None if weights is None else checking.tensor(weights, "float32"),
        None if mask is None else checking.tensor(mask, "bool"),
    )
    return gradient, call, block.statistics([call])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ids_dtype", ["int32", "uint8", "float32"])
def test_factors_equal_those_of_one_hot_rows(ids_dtype, dtype):
    with harness.float64():
        block = embedding_block(dtype=dtype)
        gradient, call, ((a, a_count), (s, s_count)) = statistics(
            block, ids_dtype=ids_dtype
        )
    one_hot = np.eye(6)[IDS.reshape(-1)]
    np.testing.assert_array_equal(
        checking.numpy(a), np.diag(checking.moment(one_hot))
    )
    assert np.count_nonzero(checking.moment(one_hot) - np.diag(a)) == 0
    truth = checking.moment(gradient.reshape(-1, 3))
    assert checking.error(s, truth) <= checking.TOLERANCES[dtype]
    assert (float(a_count), float(s_count)) == (12, 3)
    assert block.positions([call]) == 4
    assert block.factor_shapes == ((6,), (3, 3))
    assert block.diagonal == (True, False)
    assert block.kind == "embedding"
    for factor in (a, s):
        assert keras.backend.standardize_dtype(factor.dtype) == dtype


@pytest.mark.parametrize("mask_zero", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_mask_and_padding_multiply(weighted, masked, mask_zero):
    weights = np.array([0.5, 0.0, 2.0]) if weighted else None
    mask = np.arange(4) < np.array([[2], [4], [3]]) if masked else None
    of_rows = np.ones(IDS.shape)
    if weighted:
        of_rows *= weights[:, None]
    if masked:
        of_rows *= mask
    if mask_zero:
        of_rows *= IDS != 0
    _, _, ((a, count), (_, examples)) = statistics(
        embedding_block(mask_zero), weights, mask, heeded=of_rows > 0
    )
    truth = [of_rows[IDS == token].sum() for token in range(6)]
    np.testing.assert_array_equal(checking.numpy(a), truth)
    assert float(count) == of_rows.sum()
    assert float(examples) == 3


def test_matrix_form_is_the_gradient_of_the_embeddings():
    layer = keras.layers.Embedding(6, 3)
    layer.build()
    block = blocks.block_for(layer)
    gradient = checking.generator().normal(size=(3, 4, 3)).astype("float32")
    (by_backend,) = checking.gradients(
        layer, checking.tensor(IDS, "int32"), checking.tensor(gradient, None)
    )
    truth = np.eye(6)[IDS.reshape(-1)].T @ gradient.reshape(-1, 3)
    matrix = block.to_matrix([keras.ops.convert_to_tensor(by_backend)])
    assert checking.error(matrix, truth) <= 2e-6
    assert checking.error(block.from_matrix(matrix)[0], truth) <= 2e-6


def test_two_calls_equal_one_on_all_positions():
    block = embedding_block(mask_zero=True)
    _, whole, expected = statistics(block)
    parts = [
        blocks.Call(whole.features[:, part], (whole.gradients[0][:, part],))
        for part in (slice(0, 1), slice(1, 4))
    ]
    assert block.positions(parts) == 4
    for (one, one_count), (two, two_count) in zip(
        expected, block.statistics(parts), strict=True
    ):
        assert checking.error(two, checking.numpy(one)) <= 2e-6
        assert float(one_count) == float(two_count)
