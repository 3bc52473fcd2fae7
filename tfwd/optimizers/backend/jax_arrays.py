"""Keras' optimizer on JAX with dense gradients and arrays of its own.

Keras 3.15 clips and accumulates no sparse (BCOO) gradient, and lets an average
and the weights it overwrites share a buffer, which the next compiled step may
not donate twice. Every private name of the JAX backend of Keras is used in
this file and nowhere else.
"""

import keras
from keras import ops


class DenseOptimizer(keras.optimizers.Optimizer):
    """Keras' own, whose gradients are those of the global batch."""

    def apply(self, grads, trainable_variables=None):
        """Updates the variables; see `keras.optimizers.Optimizer.apply`."""
        grads = [
            g if g is None else ops.convert_to_tensor(g, sparse=False)
            for g in grads
        ]
        super().apply(grads, trainable_variables)

    def global_gradients(self, gradients, variables):
        """Returns the gradients."""
        return gradients

    def _overwrite_model_variables_with_average_value(
        self, trainable_variables
    ):
        for variable, average in zip(
            trainable_variables,
            self._model_variables_moving_average,
            strict=True,
        ):
            if average is not None:
                variable.assign(ops.copy(average.value))
