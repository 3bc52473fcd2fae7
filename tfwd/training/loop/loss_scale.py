"""The loss scale of float16, found while training (Micikevicius et al. 2018).

Keras' `LossScaleOptimizer` (3.15) looks for overflow in the gradients of the
first replica alone. Here the optimizer says whether it skipped the step, which
it decides after the sum over all replicas.
"""

import keras
from keras import ops

_INITIAL_SCALE = 2.0**15
_SMALLEST_SCALE = 1.0
_STEPS_BETWEEN_DOUBLINGS = 2000


class DynamicLossScale:
    """Halves the scale in a skipped step, doubles it after 2000 good ones.

    Made in the scope of the strategy; every replica comes to the same scale.

    Attributes:
        variables: The scale and the good steps since it changed.
    """

    def __init__(self):
        self.scale = keras.Variable(
            _INITIAL_SCALE, trainable=False, dtype="float32", name="loss_scale"
        )
        self.good_steps = keras.Variable(
            0, trainable=False, dtype="int32", name="good_steps"
        )
        self.variables = [self.scale, self.good_steps]

    def scaled(self, loss):
        """Returns the loss to differentiate."""
        return loss * ops.convert_to_tensor(self.scale)

    def unscaled(self, gradients):
        """Returns the gradients of the loss itself; the scale is exact."""
        inverse = 1 / ops.convert_to_tensor(self.scale)
        return [
            None
            if gradient is None
            else ops.convert_to_tensor(gradient)
            * ops.cast(inverse, gradient.dtype)
            for gradient in gradients
        ]

    def update(self, skipped):
        """Adapts the scale to a step.

        Args:
            skipped: Whether the step was skipped, a boolean tensor.

        Returns:
            Whether it was skipped although the scale cannot become smaller:
            the gradients themselves are not finite.
        """
        scale = ops.convert_to_tensor(self.scale)
        good_steps = ops.convert_to_tensor(self.good_steps) + 1
        grows = good_steps >= _STEPS_BETWEEN_DOUBLINGS
        # Before the assignment, behind which the variable may be read anew.
        is_in_vain = ops.logical_and(skipped, scale <= _SMALLEST_SCALE)
        factor = ops.where(skipped, 0.5, ops.where(grows, 2.0, 1.0))
        self.scale.assign(ops.maximum(scale * factor, _SMALLEST_SCALE))
        changed = ops.logical_or(skipped, grows)
        self.good_steps.assign(
            ops.where(changed, ops.zeros_like(good_steps), good_steps)
        )
        return is_in_vain
