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
        weights = rows.weights(
            grid, call.weights, call.mask, len(grid), self.dtype
        )
        if weights is None:
            weights = ops.ones_like(ids, dtype=self.dtype)
        if self.layer.mask_zero:
            weights = weights * self._cast(ops.not_equal(ids, 0))
        frequencies = ops.segment_sum(weights, ids, num_segments=self.sizes[1])
        return frequencies, ops.sum(weights)
