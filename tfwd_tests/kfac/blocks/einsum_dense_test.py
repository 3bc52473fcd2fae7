"""The block of EinsumDense: the equation says what every axis is.

Covers `equation`.
"""

import string

import keras
import numpy as np
import pytest

from tfwd.kfac import blocks
from tfwd_tests.kfac.blocks import checking
from tfwd_tests.optimizers import harness

# equation, output shape, bias axes, input shape; then input and output as
# np.einsum brings them to [positions..., groups..., features...], and how many
# positions and groups there are.
CASES = {
    "dense": ("ab,bc->ac", 4, "c", (3, 5), "ab->ab", "ac->ac", 1, 0),
    "sequence": (
        *("abc,cd->abd", (None, 4), "d", (3, 6, 5)),
        *("abc->abc", "abd->abd", 2, 0),
    ),
    "ellipsis_left": (
        *("...x,xy->...y", 4, "y", (3, 2, 6, 5)),
        *("abcx->abcx", "abcy->abcy", 3, 0),
    ),
    "ellipsis_of_batch": (
        *("...x,xy->...y", 4, None, (3, 5)),
        *("ax->ax", "ay->ay", 1, 0),
    ),
    "ellipsis_right": (
        *("ab...,bc->ac...", 4, "c", (3, 5, 2, 6)),
        *("abyz->ayzb", "acyz->ayzc", 3, 0),
    ),
    "query": (
        *("abc,cde->abde", (None, 2, 4), "de", (3, 6, 5)),
        *("abc->abc", "abde->abde", 2, 0),
    ),
    "bias_in_another_order": (
        *("abc,ced->abde", (None, 2, 4), "de", (3, 6, 5)),
        *("abc->abc", "abde->abed", 2, 0),
    ),
    "attention_output": (
        *("abcd,cde->abe", (None, 4), "e", (3, 6, 2, 5)),
        *("abcd->abcd", "abe->abe", 2, 0),
    ),
    "contracted_in_another_order": (
        *("abcd,dce->abe", (None, 4), None, (3, 6, 2, 5)),
        *("abcd->abdc", "abe->abe", 2, 0),
    ),
    "free_before_positions": (
        *("abc,cd->adb", (4, 6), "d", (3, 6, 5)),
        *("abc->abc", "adb->abd", 2, 0),
    ),
    "groups": (
        *("abcd,bde->abce", (2, None, 4), "be", (3, 2, 6, 5)),
        *("abcd->acbd", "abce->acbe", 2, 1),
    ),
    "two_groups_without_bias": (
        *("abcd,cebd->abce", (2, 6, 4), None, (3, 2, 6, 5)),
        *("abcd->acbd", "abce->acbe", 1, 2),
    ),
    "scale": ("ab,b->ab", 5, "b", (3, 5), "ab->ab", "ab->ab", 1, 1),
    "no_output_axis": (
        *("abc,c->ab", 6, None, (3, 6, 5)),
        *("abc->abc", "ab->ab", 2, 0),
    ),
}


def flat(array, equation, positions, groups):
    """Returns [(groups,) rows, features]."""
    array = np.einsum(equation, array)
    shape = array.shape
    rows = int(np.prod(shape[:positions]))
    if not groups:
        return array.reshape(rows, -1)
    count = int(np.prod(shape[positions : positions + groups]))
    return np.moveaxis(array.reshape(rows, count, -1), 1, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_factors_and_matrix_equal_explicit_rows(case, dtype):
    equation, shape, bias, input_shape, of_input, of_output, *axes = CASES[case]
    inputs = checking.generator().normal(size=input_shape).astype(dtype)
    rows = flat(inputs, of_input, *axes)
    if bias:
        rows = np.concatenate([rows, np.ones_like(rows[..., :1])], axis=-1)
    with harness.float64():
        block = checking.assert_block_agrees(
            keras.layers.EinsumDense(
                equation, shape, bias_axes=bias, dtype=dtype
            ),
            inputs,
            rows,
            lambda outputs: flat(outputs, of_output, *axes),
        )
    assert block.kind == "einsum_dense"
    assert len(block.factor_shapes[0]) == (3 if axes[1] else 2)


def test_an_elided_axis_takes_a_letter_that_is_free():
    letters = string.ascii_lowercase
    inputs = checking.generator().normal(size=(3, 2, 5)).astype("float32")
    equation = f"...{letters[0]},{letters[:2]}->...{letters[1]}"
    checking.assert_block_agrees(
        keras.layers.EinsumDense(equation, 4),
        inputs,
        inputs.reshape(-1, 5),
        lambda outputs: outputs.reshape(-1, 4),
    )


@pytest.mark.parametrize("grouped", [False, True])
def test_weights_and_mask_multiply_the_rows_of_inputs(grouped):
    random = checking.generator()
    equation = "abcd,cde->abce" if grouped else "abcd,cde->abe"
    shape = (None, 2, 4) if grouped else (None, 4)
    inputs = random.normal(size=(3, 6, 2, 5)).astype("float32")
    layer = keras.layers.EinsumDense(equation, shape)
    block = blocks.block_for(checking.built(layer, inputs))
    weights = np.array([0.25, 0.0, 2.0])
    mask = random.uniform(size=(3, 6)) < 0.6
    output = np.zeros((3, 6, *shape[1:]))
    call = checking.call(block, inputs, [output], weights, mask)
    (a, count), _ = block.statistics([call])
    of_rows = (weights[:, None] * mask).reshape(-1)
    rows = flat(inputs, "abcd->abcd", 2, 1 if grouped else 0)
    assert checking.error(a, checking.moment(rows, of_rows)) <= 2e-6
    np.testing.assert_allclose(float(count), of_rows.sum(), rtol=1e-6)


def test_mask_over_a_contracted_axis_leaves_no_row_out():
    inputs = checking.generator().normal(size=(3, 6, 5)).astype("float32")
    layer = keras.layers.EinsumDense("abc,bd->acd", (5, 4))
    block = blocks.block_for(checking.built(layer, inputs))
    mask = np.arange(6) < np.array([[2], [4], [6]])
    call = checking.call(block, inputs, [np.zeros((3, 5, 4))], mask=mask)
    (a, count), _ = block.statistics([call])
    rows = flat(inputs, "abc->acb", 2, 0)
    assert checking.error(a, checking.moment(rows)) <= 2e-6
    assert float(count) == 15


def test_all_projections_of_attention_are_covered():
    layer = keras.layers.MultiHeadAttention(2, 3)
    x = checking.tensor(checking.generator().normal(size=(2, 4, 6)), "float32")
    layer(x, x)
    inner = [
        each
        for each in layer._flatten_layers()
        if isinstance(each, keras.layers.EinsumDense)
    ]
    shapes = [blocks.block_for(each).factor_shapes for each in inner]
    assert sorted(shapes) == [((7, 7), (6, 6))] * 4
