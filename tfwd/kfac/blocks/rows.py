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


def weights(grid, example_weights, mask, dtype):
    """Returns the weight of each row, [rows], or None if all are 1.

    Args:
        grid: Sizes of batch and positions, batch first.
        example_weights: None, or [batch].
        mask: None, or boolean, of the grid.
        dtype: Type of the result.
    """
    factors = [
        ops.cast(over_grid(factor, grid), dtype)
        for factor in (example_weights, mask)
        if factor is not None
    ]
    if not factors:
        return None
    product = factors[0] if len(factors) == 1 else factors[0] * factors[1]
    return ops.reshape(product, (-1,))


def over_grid(tensor, grid):
    """Returns what is given for leading axes of the grid for all of it."""
    shape = ops.shape(tensor)
    shape = (*shape, *(1,) * (len(grid) - len(shape)))
    return ops.broadcast_to(ops.reshape(tensor, shape), grid)
