"""Batch and layer normalization: scale and shift of each channel together.

A channel's γ and β meet one number each per position, so that the block of a
channel is small enough to be kept whole: F = Σ u uᵀ / examples, u the gradient
of one example with respect to the channel's (γ, β), summed over positions.
"""

import math

import keras
from keras import ops

from tfwd.kfac.blocks import block as block_lib


class NormalizationBlock(block_lib.Block):
    """F of a normalization's γ and β, [channels, p, p].

    p is 2, or 1 if only one of them is there and trainable.
    """

    factor_names = ("F",)
    diagonal = (False,)

    @property
    def factor_shapes(self):
        """((channels, p, p),)."""
        p = len(self.variables)
        return ((math.prod(self.variables[0].shape), p, p),)

    def features(self, inputs, layer_call):
        """Returns the normalized input, the output for γ = 1 and β = 0."""
        # A nested scope does not see what an outer one maps: every variable
        # is given its present value.
        plain = {}
        if self._gamma is not None:
            plain[id(self._gamma)] = ops.ones
        if self._beta is not None:
            plain[id(self._beta)] = ops.zeros
        mapping = []
        for variable in self.layer.variables:
            if id(variable) in plain:
                value = plain[id(variable)](variable.shape, variable.dtype)
            else:
                value = ops.convert_to_tensor(variable)
            mapping.append((variable, value))
        with keras.StatelessScope(mapping):
            normalized = layer_call(inputs)
        return ops.stop_gradient(normalized)

    def statistics(self, calls):
        """Returns Σ u uᵀ, and its examples."""
        total = 0
        for vector in range(len(calls[0].gradients)):
            u = sum(self._example_gradients(call, vector) for call in calls)
            total = total + ops.einsum("bcp,bcq->cpq", u, u)
        return ((total, self._examples(calls)),)

    def to_matrix(self, tensors):
        """Returns [channels, p, 1]."""
        columns = [ops.reshape(self._cast(t), (-1, 1)) for t in tensors]
        return ops.stack(columns, axis=1)

    def from_matrix(self, matrix):
        """Returns γ and β, those that are preconditioned."""
        return tuple(
            ops.reshape(matrix[:, index, 0], variable.shape)
            for index, variable in enumerate(self.variables)
        )

    def _example_gradients(self, call, vector):
        gradient = self._channels_last(call.gradients[vector])
        columns = []
        for variable in self.variables:
            if variable is self._gamma:
                features = self._channels_last(call.features)
                columns.append(ops.sum(gradient * features, axis=1))
            else:
                columns.append(ops.sum(gradient, axis=1))
        return ops.stack(columns, axis=-1)

    def _trainable_variables(self):
        axes = self.layer.axis
        if 0 in (axes if isinstance(axes, list | tuple) else [axes]):
            raise block_lib.UnsupportedLayerError(
                f"axis={axes} has the batch in it"
            )
        self._gamma = getattr(self.layer, "gamma", None)
        self._beta = getattr(self.layer, "beta", None)
        variables = tuple(
            variable
            for variable in (self._gamma, self._beta)
            if variable is not None and variable.trainable
        )
        if not variables:
            raise block_lib.UnsupportedLayerError(
                "no variable of it is trainable"
            )
        return variables

    def _axes(self, rank):
        # Ascending, since Keras reshapes γ to the layout of the input.
        axes = self.layer.axis
        axes = axes if isinstance(axes, list | tuple) else [axes]
        return sorted(axis % rank for axis in axes)

    def _grid(self, gradient):
        shape = ops.shape(gradient)
        axes = self._axes(len(shape))
        return tuple(n for axis, n in enumerate(shape) if axis not in axes)

    def _channels_last(self, tensor):
        """Returns [batch, positions, channels]."""
        tensor = self._cast(tensor)
        rank = len(tensor.shape)
        axes = self._axes(rank)
        tensor = ops.moveaxis(tensor, axes, list(range(rank - len(axes), rank)))
        channels = math.prod(self.variables[0].shape)
        return ops.reshape(tensor, (ops.shape(tensor)[0], -1, channels))


class BatchNormalizationBlock(NormalizationBlock):
    """F of a BatchNormalization layer."""

    kind = "batch_normalization"


class LayerNormalizationBlock(NormalizationBlock):
    """F of a LayerNormalization layer."""

    kind = "layer_normalization"
