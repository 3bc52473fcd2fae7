"""Embedding: a Dense layer on one-hot inputs, without the one-hot matrix."""

from keras import ops

from tfwd.kfac.blocks import kronecker
from tfwd.kfac.blocks import rows


class EmbeddingBlock(kronecker.KroneckerBlock):
    """C = A ⊗ G, A the diagonal of the ids' frequencies.

    One-hot inputs make A diagonal without any approximation. Where
    `mask_zero` says that id 0 is padding, its rows do not count.
    """

    kind = "embedding"
    diagonal = (True, False)

    @property
    def factor_shapes(self):
        """((vocabulary,), (m, m))."""
        _, vocabulary, m = self.sizes
        return (vocabulary,), (m, m)

    def input_rows(self, features):
        """Returns the ids, [rows]."""
        return ops.cast(ops.reshape(features, (-1,)), "int32")

    def _kernel(self):
        return self.layer.embeddings

    def _sizes(self):
        return (None, *self.variables[0].shape)

    def _input_moment(self, call):
        ids = self.input_rows(call.features)
        grid = self._grid(call.gradients[0])
        mask = call.mask
        if self.layer.mask_zero:
            padded = ops.reshape(ops.not_equal(ids, 0), grid)
            mask = padded if mask is None else ops.logical_and(mask, padded)
        mask = self._row_mask(mask, call, grid)
        weights = rows.weights(grid, call.weights, mask, self.dtype)
        if weights is None:
            weights = ops.ones_like(ids, dtype=self.dtype)
        frequencies = ops.segment_sum(weights, ids, num_segments=self.sizes[1])
        return frequencies, ops.sum(weights)
