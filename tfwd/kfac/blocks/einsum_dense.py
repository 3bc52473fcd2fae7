"""EinsumDense: a Dense layer whose axes an equation names."""

import functools
import math

from keras import ops

from tfwd.kfac.blocks import block as block_lib
from tfwd.kfac.blocks import equation
from tfwd.kfac.blocks import kronecker
from tfwd.kfac.blocks import rows


class EinsumDenseBlock(kronecker.KroneckerBlock):
    """C = A ⊗ G of an EinsumDense layer, one A and one G per group.

    Every tensor is brought to the order positions, groups, features, and from
    there on is that of a Dense layer.
    """

    kind = "einsum_dense"

    def __init__(self, layer):
        super().__init__(layer)
        if self.has_bias and set(self._bias_labels) != set(self._row_labels):
            raise block_lib.UnsupportedLayerError(
                f"bias_axes={layer.bias_axes!r} are not the axes of the "
                f"output that the kernel of {layer.equation!r} has"
            )

    def input_rows(self, features):
        """Returns [(groups,) rows, n]."""
        labels = self._equation
        inputs = _transpose(
            self._cast(features),
            labels.inputs,
            labels.positions + labels.groups + labels.contracted,
        )
        inputs = self._split_groups(inputs, self.sizes[1])
        return rows.append_one(inputs) if self.has_bias else inputs

    def gradient_rows(self, gradient):
        """Returns [(groups,) rows, m]."""
        labels = self._equation
        gradient = _transpose(
            gradient, labels.outputs, labels.positions + self._row_labels
        )
        return super().gradient_rows(gradient)

    @functools.cached_property
    def _equation(self):
        return equation.of_layer(self.layer)

    @property
    def _matrix_labels(self):
        return self._equation.contracted + self._row_labels

    @property
    def _row_labels(self):
        return self._equation.groups + self._equation.free

    @property
    def _bias_labels(self):
        outputs = self._equation.outputs
        return [x for x in outputs if x in self.layer.bias_axes]

    def _sizes(self):
        labels = self._equation
        groups, n, m = (
            math.prod(self._shape(each))
            for each in (labels.groups, labels.contracted, labels.free)
        )
        return (groups if labels.groups else None), n, m

    def _shape(self, labels):
        kernel = self.variables[0].shape
        sizes = dict(zip(self._equation.kernel, kernel, strict=True))
        return [sizes[x] for x in labels]

    def _grid(self, gradient):
        shape = ops.shape(gradient)
        labels = self._equation
        return tuple(shape[labels.outputs.index(x)] for x in labels.positions)

    def _masked_axes(self, grid):
        del grid
        return self._equation.leading_positions

    def _kernel_to_matrix(self, kernel):
        kernel = _transpose(kernel, self._equation.kernel, self._matrix_labels)
        return super()._kernel_to_matrix(kernel)

    def _matrix_to_kernel(self, matrix):
        if self.sizes[0] is not None:
            matrix = ops.transpose(matrix, (1, 0, 2))
        kernel = ops.reshape(matrix, self._shape(self._matrix_labels))
        return _transpose(kernel, self._matrix_labels, self._equation.kernel)

    def _bias_to_row(self, bias):
        bias = ops.reshape(bias, self._shape(self._bias_labels))
        bias = _transpose(bias, self._bias_labels, self._row_labels)
        return super()._bias_to_row(bias)

    def _row_to_bias(self, row):
        bias = ops.reshape(row, self._shape(self._row_labels))
        bias = _transpose(bias, self._row_labels, self._bias_labels)
        return super()._row_to_bias(bias)


def _transpose(tensor, labels, target):
    if list(labels) == list(target):
        return tensor
    return ops.transpose(tensor, [list(labels).index(x) for x in target])
