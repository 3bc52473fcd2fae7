"""Dense: every axis between the batch and the features is a position."""

from tfwd.kfac.blocks import kronecker
from tfwd.kfac.blocks import rows


class DenseBlock(kronecker.KroneckerBlock):
    """C = A ⊗ G of a Dense layer; V is the kernel over the bias."""

    kind = "dense"

    def input_rows(self, features):
        """Returns [rows, n]."""
        inputs = self._split_groups(self._cast(features), self.sizes[1])
        return rows.append_one(inputs) if self.has_bias else inputs

    def _sizes(self):
        return (None, *self.variables[0].shape)
