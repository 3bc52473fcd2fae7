"""Keras' optimizer on TensorFlow with one order of work on every strategy.

Keras 3.15 clips the gradients of each replica before it sums them, and leaves
the replica context inside `tf.cond`, which `MirroredStrategy` forbids. Here
gradients are summed over the replicas first. After that each replica does the
same arithmetic on its own copy of the variables, so clipping, accumulation and
averaging give what one device gives, all replicas skip the same steps, and no
collective stands inside a condition. Every private name of the TensorFlow
backend of Keras is used in this file and nowhere else.
"""

import keras
import tensorflow as tf

from tfwd.optimizers import selection


class ReplicaOptimizer(keras.optimizers.Optimizer):
    """Sums gradients over replicas, then updates each replica's copy."""

    def build(self, variables):
        """Creates the optimizer's variables.

        Raises:
            ValueError: If a variable of a strategy with several replicas
                aggregates the replicas' writes: each replica writes the
                result for all of them, which must not be summed again.
        """
        if self._distribution_strategy.num_replicas_in_sync > 1:
            for variable in variables:
                aggregation = _aggregation(variable)
                if aggregation != "none":
                    raise ValueError(
                        "Trainable variables must have `aggregation='none'` "
                        "on several replicas. Received: "
                        f"{selection.path_of(variable)} with "
                        f"aggregation={aggregation!r}"
                    )
        super().build(variables)

    def apply(self, grads, trainable_variables=None):
        """Updates the variables; see `keras.optimizers.Optimizer.apply`."""
        if self.loss_scale_factor is not None:
            # Keras divides by the loss scale, and IndexedSlices cannot.
            grads = [g if g is None else tf.convert_to_tensor(g) for g in grads]
        super().apply(grads, trainable_variables)

    def global_gradients(self, gradients, variables):
        """Returns the gradients summed over the replicas, dense."""
        # TensorFlow never lets go of a graph in which it has reduced.
        if self._distribution_strategy.num_replicas_in_sync > 1:
            pairs = self._all_reduce_sum_gradients(
                list(zip(gradients, variables, strict=True))
            )
            gradients = [gradient for gradient, _ in pairs]
        # Dense from here on: the slices of a repeated embedding id must be
        # summed before anything squares or clips them.
        return [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _backend_increment_gradient_accumulators(self, grads, acc_grads):
        for gradient, accumulator in zip(grads, acc_grads, strict=True):
            self.assign_add(accumulator, gradient)

    def _overwrite_model_variables_with_average_value(
        self, trainable_variables
    ):
        for variable, average in zip(
            trainable_variables,
            self._model_variables_moving_average,
            strict=True,
        ):
            # Keras averages no scale of float8.
            if average is not None:
                self.assign(variable, average)


def _aggregation(variable):
    """Returns "none", "mean", ... of Keras' strings and TensorFlow's enum."""
    aggregation = getattr(variable, "aggregation", None)
    if aggregation is None:
        return "none"
    return str(getattr(aggregation, "name", aggregation)).lower()
