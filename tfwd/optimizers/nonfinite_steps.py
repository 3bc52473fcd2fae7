"""A look at each step before it is taken: whether it is finite."""

import math

from keras import ops

from tfwd.optimizers import decaying
from tfwd.optimizers import finite
from tfwd.optimizers import selective
from tfwd.optimizers.backend import conditional


class GuardedOptimizer(selective.SelectiveOptimizer):
    """Finds out which steps to skip, and guards what the others assign.

    `tfwd.optimizers.base.Optimizer` documents which steps those are.
    """

    squares_gradients = False

    def step_is_finite(self, gradients):
        """Returns whether gradients, ηₜ and λₜ are finite, as in the class.

        Args:
            gradients: Dense gradients: summed over replicas, without loss
                scale, the mean of those accumulated.

        Returns:
            A boolean scalar, the same on all replicas.
        """
        squares = (
            self.squares_gradients or self.clipnorm or self.global_clipnorm
        )
        check = finite.all_squares_finite if squares else finite.all_finite
        rates = ops.stack(
            [
                ops.cast(rate, decaying.scalar_dtype())
                for rate in (self.learning_rate, self.scheduled_weight_decay())
            ]
        )
        # Also false for a NaN.
        are_valid = ops.logical_and(rates >= 0, rates < math.inf)
        return ops.logical_and(check(gradients), ops.all(are_valid))

    def guard(self, raw, seen):
        """Counts a step that is not finite.

        Args:
            raw: The gradients before they are clipped.
            seen: The same as the statistics see them.

        Returns:
            A function that calls another one, which assigns to variables, if
            the step is finite.
        """
        if not self.skip_nonfinite:
            return lambda update: update()
        is_clipped = self.clipnorm or self.clipvalue or self.global_clipnorm
        is_penalized = self.weight_decay_mode == "l2"
        looked_at = [] if is_penalized and not is_clipped else list(raw)
        is_finite = self.step_is_finite(
            looked_at + (seen if is_penalized else [])
        )
        self.count_skipped(ops.logical_not(is_finite))
        known = [*self.model_variables(), *self.variables]
        return lambda update: conditional.update_if(is_finite, update, known)
