"""Where the optimizers meet the private hooks of Keras (3.15).

For each step Keras sums gradients over replicas, clips them, decays weights
and calls `update_step` variable by variable. This library needs all gradients
at once, because a stable weight decay depends on every variable's statistics
before the first variable moves, and it decays by itself. Every private name of
Keras that all backends share is used in this file and nowhere else; those of
the TensorFlow backend are in `tensorflow_replicas`.
"""

import keras

if keras.backend.backend() == "tensorflow":
    from tfwd.optimizers import tensorflow_replicas

    _BackendOptimizer = tensorflow_replicas.ReplicaOptimizer
else:
    _BackendOptimizer = keras.optimizers.Optimizer


class HookedOptimizer(_BackendOptimizer):
    """A Keras optimizer that updates all variables in one call, `update`."""

    def update(self, indices, variables, gradients, learning_rate):
        """Moves the variables; for the library's base class to fill in.

        Args:
            indices: Positions of the variables among those of `build`.
            variables: The variables that have a gradient in this step.
            gradients: Dense gradients: summed over replicas, without loss
                scale, accumulated, clipped.
            learning_rate: The scheduled learning rate, a scalar.
        """
        raise NotImplementedError

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        indices = [self._get_variable_index(v) for v in trainable_variables]
        self.update(indices, trainable_variables, grads, learning_rate)

    def _apply_weight_decay(self, variables):
        """Does nothing: `update` decays, with the values before the step."""

    def model_variables(self):
        """Returns the variables that the optimizer was built for, in order."""
        return list(self._trainable_variables)

    def schedule_step(self):
        """Returns the counter that Keras hands to learning rate schedules."""
        return self._iterations

    def is_overwritten(self, variable):
        """Tells whether Keras assigns the gradient itself (float8 scales)."""
        return self._overwrite_variable_with_gradient(variable)
