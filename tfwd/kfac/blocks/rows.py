"""Rows, one per example and position, batch outermost: [(groups,) rows, n]."""

from keras import ops


def append_one(rows):
    """Returns the rows with the homogeneous coordinate of the bias."""
    return ops.concatenate([rows, ops.ones_like(rows[..., :1])], axis=-1)


def second_moment(rows, weights=None):
    """Returns Σ w r rᵀ over the rows.

    Args:
        rows: [(groups,) rows, n].
        weights: None, or w, [rows]. It enters as √w on both sides, which
            leaves the result as symmetric as the product makes it.
    """
    if weights is not None:
        rows = rows * ops.sqrt(weights)[:, None]
    return ops.matmul(ops.swapaxes(rows, -1, -2), rows)


def weights(grid, example_weights, mask, masked_axes, dtype):
    """Returns the weight of each row, [rows], or None if all are 1.

    Args:
        grid: Sizes of batch and positions, batch first.
        example_weights: None, or [batch].
        mask: None, or boolean, over leading axes of the layer's input. A mask
            over an axis that the layer contracts leaves no row out: the
            layer itself does not heed it.
        masked_axes: How many leading axes of the grid are leading axes of the
            layer's input.
        dtype: Of the result.
    """
    if mask is not None and len(mask.shape) > masked_axes:
        mask = None
    factors = [
        _over_grid(ops.cast(factor, dtype), len(grid))
        for factor in (example_weights, mask)
        if factor is not None
    ]
    if not factors:
        return None
    product = factors[0] if len(factors) == 1 else factors[0] * factors[1]
    return ops.reshape(ops.broadcast_to(product, grid), (-1,))


def _over_grid(tensor, rank):
    shape = ops.shape(tensor)
    return ops.reshape(tensor, (*shape, *(1,) * (rank - len(shape))))
