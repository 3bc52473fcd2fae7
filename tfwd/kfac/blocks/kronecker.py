"""Blocks whose factors are second moments of rows: one kernel, maybe a bias."""

import abc

from keras import ops

from tfwd.kfac.blocks import block as block_lib
from tfwd.kfac.blocks import rows


class KroneckerBlock(block_lib.Block):
    """C = A ⊗ G of a kernel and its bias.

    Attributes:
        sizes: (groups, inputs, outputs) of the kernel's matrix form; groups
            is None if there are none.
    """

    def __init__(self, layer):
        super().__init__(layer)
        self.sizes = self._sizes()

    @property
    def has_bias(self):
        """Whether rows of inputs end with a 1."""
        return len(self.variables) == 2

    @property
    def factor_shapes(self):
        """(([groups,] n, n), ([groups,] m, m))."""
        groups, n, m = self.sizes
        n += self.has_bias
        leading = () if groups is None else (groups,)
        return (*leading, n, n), (*leading, m, m)

    def statistics(self, calls):
        """Returns Σ a aᵀ and its rows, Σ g gᵀ and its examples."""
        moments = [self._input_moment(call) for call in calls]
        return (
            (sum(m for m, _ in moments), sum(count for _, count in moments)),
            (self._gradient_moment(calls), self._examples(calls)),
        )

    @abc.abstractmethod
    def input_rows(self, features):
        """Returns [(groups,) rows, n], a 1 appended if there is a bias."""

    def gradient_rows(self, gradient):
        """Returns [(groups,) rows, m], in the order of the rows of inputs."""
        return self._split_groups(self._cast(gradient), self.sizes[2])

    def to_matrix(self, tensors):
        """Returns [(groups,) n, m], the bias as last row."""
        kernel, *bias = [self._cast(tensor) for tensor in tensors]
        matrix = self._kernel_to_matrix(kernel)
        if not bias:
            return matrix
        row = self._bias_to_row(bias[0])
        return ops.concatenate([matrix, row[..., None, :]], axis=-2)

    def from_matrix(self, matrix):
        """Returns kernel and bias."""
        if not self.has_bias:
            return (self._matrix_to_kernel(matrix),)
        return (
            self._matrix_to_kernel(matrix[..., :-1, :]),
            self._row_to_bias(matrix[..., -1, :]),
        )

    @abc.abstractmethod
    def _sizes(self):
        """Returns (groups, inputs, outputs)."""

    def _grid(self, gradient):
        return ops.shape(gradient)[:-1]

    def _masked_axes(self, grid):
        """Returns how many leading axes of the layer's input are positions."""
        return len(grid)

    def _input_moment(self, call):
        grid = self._grid(call.gradients[0])
        mask = self._row_mask(call.mask, call, grid)
        weights = rows.weights(grid, call.weights, mask, self.dtype)
        inputs = self.input_rows(call.features)
        if weights is None:
            count = self._cast(ops.shape(inputs)[-2])
        else:
            count = ops.sum(weights)
        return rows.second_moment(inputs, weights), count

    def _row_mask(self, mask, call, grid):
        """Returns the mask of the rows that count, of the grid, or None.

        A masked row counts all the same if a gradient comes back to it: some
        layer above did not heed the mask.
        """
        # A mask over an axis that the layer contracts leaves no row out.
        if mask is None or len(mask.shape) > self._masked_axes(grid):
            return None
        mask = rows.over_grid(mask, grid)
        for gradient in call.gradients:
            reached = self.gradient_rows(gradient) != 0
            reached = ops.any(reached, axis=-1)
            if self.sizes[0] is not None:
                reached = ops.any(reached, axis=0)
            mask = ops.logical_or(mask, ops.reshape(reached, grid))
        return mask

    def _gradient_moment(self, calls):
        return sum(
            rows.second_moment(self.gradient_rows(gradient))
            for call in calls
            for gradient in call.gradients
        )

    def _split_groups(self, tensor, size):
        # The last axis of `tensor` holds the groups one after another.
        if self.sizes[0] is None:
            return ops.reshape(tensor, (-1, size))
        tensor = ops.reshape(tensor, (-1, self.sizes[0], size))
        return ops.transpose(tensor, (1, 0, 2))

    def _kernel_to_matrix(self, kernel):
        groups, n, m = self.sizes
        if groups is None:
            return ops.reshape(kernel, (n, m))
        return ops.transpose(ops.reshape(kernel, (n, groups, m)), (1, 0, 2))

    def _matrix_to_kernel(self, matrix):
        if self.sizes[0] is not None:
            matrix = ops.transpose(matrix, (1, 0, 2))
        return ops.reshape(matrix, self.variables[0].shape)

    def _bias_to_row(self, bias):
        groups, _, m = self.sizes
        return ops.reshape(bias, (m,) if groups is None else (groups, m))

    def _row_to_bias(self, row):
        return ops.reshape(row, self.variables[1].shape)
