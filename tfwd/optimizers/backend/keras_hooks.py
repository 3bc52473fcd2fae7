"""Where the optimizers meet the private hooks of Keras (3.10 to 3.15).

For each step Keras sums gradients over replicas, clips them, decays weights
and calls `update_step` variable by variable. This library needs all gradients
at once, because a stable weight decay depends on every variable's statistics
before the first variable moves, and it decays by itself. It looks at them
before all that, because clipping can turn an infinity into a bound, and leaves
out the whole of a step that is not finite. Every private name of Keras that
all backends share is used in this file and nowhere else; those of the
TensorFlow backend are in `tensorflow_replicas`, of JAX in `jax_arrays`.
"""

import typing

import keras
from keras import ops

from tfwd import arguments
from tfwd.optimizers import gradient_shapes
from tfwd.optimizers import variable_types
from tfwd.optimizers.backend import conditional

# Of the backend in use: no type that a checker could know.
_BackendOptimizer: typing.Any
if keras.backend.backend() == "tensorflow":
    from tfwd.optimizers.backend import tensorflow_replicas

    _BackendOptimizer = tensorflow_replicas.ReplicaOptimizer
elif keras.backend.backend() == "jax":
    from tfwd.optimizers.backend import jax_arrays

    _BackendOptimizer = jax_arrays.DenseOptimizer
else:

    class _BackendOptimizer(keras.optimizers.Optimizer):
        """Keras' own, whose gradients are those of the global batch."""

        def global_gradients(self, gradients, variables):
            """Returns the gradients."""
            return gradients


class HookedOptimizer(_BackendOptimizer):
    """A Keras optimizer that updates all variables in one call, or none."""

    def count_skipped(self, skipped):
        """Adds one if a step was skipped; for `decaying.DecayingOptimizer`.

        Args:
            skipped: A boolean scalar.
        """
        raise NotImplementedError

    def warn_of_events(self):
        """Warns of what went wrong in the steps so far; filled in likewise."""
        raise NotImplementedError

    def update(self, indices, variables, gradients, learning_rate):
        """Moves the variables; for the library's base class to fill in.

        Args:
            indices: Positions of the variables among those of `build`.
            variables: The variables that have a gradient in this step.
            gradients: Dense gradients: summed over replicas, without loss
                scale, the mean of those accumulated, not clipped.
            learning_rate: The scheduled learning rate, a scalar.
        """
        raise NotImplementedError

    def apply(self, grads, trainable_variables=None):
        """Updates the variables; see `keras.optimizers.Optimizer.apply`."""
        if trainable_variables is None:
            known = self.model_variables()
        else:
            known = trainable_variables = list(trainable_variables)
        variable_types.check_real_floating(known, grads)
        # Keras constrains variables after every step. That is a projection,
        # but not to the last digit, and a skipped step moves nothing. Nor may
        # the averages that overwrite them.
        moved = [v for v in known if v.constraint is not None]
        if self.use_ema and self.ema_overwrite_frequency:
            moved = known
        if not (moved and self.skip_nonfinite):
            super().apply(grads, trainable_variables)
            return
        before = [ops.copy(v) for v in moved]
        # Not an attribute, which the threads of the replicas share.
        count = ops.copy(self.skipped_steps)
        super().apply(grads, trainable_variables)
        is_skipped = ops.not_equal(self.skipped_steps, count)
        for variable, old in zip(moved, before, strict=True):
            self.assign(variable, _choice(is_skipped, old, variable))

    def _backend_apply_gradients(self, grads, trainable_variables):
        grads = self.global_gradients(grads, trainable_variables)
        gradient_shapes.check(grads, trainable_variables)
        self._skipped_before = ops.copy(self.skipped_steps)
        super()._backend_apply_gradients(grads, trainable_variables)

    def _clip_gradients(self, grads):
        """Returns the gradients; `update` looks at them before it clips."""
        return grads

    def clipped(self, gradients):
        """Returns the gradients clipped as Keras' arguments say."""
        return super()._clip_gradients(gradients)

    def _update_model_variables_moving_average(self, trainable_variables):
        """Averages after a step that was taken; the first one starts them."""
        average = super()._update_model_variables_moving_average
        if not self.skip_nonfinite:
            average(trainable_variables)
            return
        is_taken = ops.equal(self.skipped_steps, self._skipped_before)
        conditional.update_if(
            ops.logical_or(is_taken, ops.equal(self.iterations, 0)),
            lambda: average(trainable_variables),
            [*self.model_variables(), *self.variables],
        )

    def finalize_variable_values(self, var_list):
        """Ends a training; `fit` calls it, also within Keras' wrappers."""
        super().finalize_variable_values(var_list)
        self.warn_of_events()

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

    def last_schedule_step(self):
        """Returns the counter as schedules saw it in the last step."""
        return ops.maximum(ops.convert_to_tensor(self._iterations) - 1, 0)

    def last_learning_rate(self):
        """Returns η of the last step, a scalar."""
        if arguments.is_schedule(self._learning_rate):
            return self._learning_rate(self.last_schedule_step())
        return self.learning_rate

    def is_overwritten(self, variable):
        """Returns whether Keras assigns the gradient itself (float8 scales)."""
        return self._overwrite_variable_with_gradient(variable)


def _choice(predicate, x, y):
    # JAX takes no Keras variables here.
    return ops.where(
        predicate, ops.convert_to_tensor(x), ops.convert_to_tensor(y)
    )
