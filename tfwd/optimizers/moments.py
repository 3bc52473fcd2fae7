"""Moving averages of the gradient and its square, for the Adam-like rules."""

import math
import typing

import keras
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.optimizers import base
from tfwd.optimizers import variable_types


def bias_correction(beta, t):
    """Returns 1 − βᵗ, the weight of t terms in an average started at zero.

    Written with expm1, since in float32 `1 - beta**t` keeps only four digits
    of 0.001, its value for β = 0.999 at the first step.

    Args:
        beta: β, a Python float in [0, 1).
        t: Steps, a float scalar of at least 1.
    """
    if beta == 0:
        return ops.ones_like(t)
    return -ops.expm1(t * math.log(beta))


class MomentsOptimizer(base.Optimizer):
    """An optimizer with a first and a second moment, m and v.

    ```
    m ← β₁ m + (1 − β₁) g            m̂ = m/(1 − β₁ᵗ)
    v ← β₂ v + (1 − β₂) g²           v̂ = v/(1 − β₂ᵗ)
    v_max ← max(v_max, v)            v̂ = v_max/(1 − β₂ᵗ)  if keeps_maximum
    θ ← θ − η m̂/(√v̂ + ε)
    ```

    An algorithm changes the parts in which it differs.
    """

    keeps_maximum = False
    squares_gradients = True

    def __init__(
        self,
        learning_rate: types.Schedule,
        weight_decay: types.Schedule,
        *,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        **base_arguments: typing.Any,
    ):
        """Checks and keeps the constants of the moving averages."""
        beta_1 = arguments.check_decay_rate("beta_1", beta_1)
        beta_2 = arguments.check_decay_rate("beta_2", beta_2)
        epsilon = arguments.check_non_negative("epsilon", epsilon)
        super().__init__(learning_rate, weight_decay, **base_arguments)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables):
        """Creates m, v and v_max.

        Raises:
            ValueError: If a variable is of float16.
        """
        if self.built:
            return
        variable_types.check_holds_squares(variables)
        super().build(variables)
        self.momentums, self.velocities = self.add_optimizer_variables(
            variables,
            ["momentum", "velocity"],
            ["zeros", self.initial_second_moment()],
        )
        if self.keeps_maximum:
            self.maximal_velocities = self.add_optimizer_variables(
                variables, "maximal_velocity"
            )

    def initial_second_moment(self):
        """Returns the initializer of v."""
        return "zeros"

    def next_second_moment(self, v, gradient):
        """Returns v after this step's gradient."""
        return self.beta_2 * v + (1 - self.beta_2) * ops.square(gradient)

    def accumulations(self):
        """Returns the update of m and v, and where it is kept that of v_max."""
        if not self.keeps_maximum:
            return (self.accumulate,)
        return self.accumulate, self.accumulate_maximum

    def accumulate(self, index, gradient):
        """Updates m and v."""
        m = self.momentums[index]
        self.assign(m, self.beta_1 * m + (1 - self.beta_1) * gradient)
        v = self.next_second_moment(self.velocities[index], gradient)
        self.assign(self.velocities[index], v)

    def accumulate_maximum(self, index, gradient):
        """Updates v_max."""
        v, v_max = (
            ops.convert_to_tensor(each[index])
            for each in (self.velocities, self.maximal_velocities)
        )
        self.assign(self.maximal_velocities[index], _maximum(v, v_max))

    def second_moment(self, index):
        """Returns v, or v_max if it is kept, as a tensor."""
        kept = self.velocities
        if self.keeps_maximum:
            kept = self.maximal_velocities
        return ops.convert_to_tensor(kept[index])

    def needs_second_moment(self):
        """Returns whether s depends on the mean of v."""
        return self.weight_decay_mode == "stable"

    def mean_v_hat(self, mean):
        """Returns v̄, the mean of the debiased second moments."""
        return mean / bias_correction(self.beta_2, self.step_number())

    def debiased_step_size(self, learning_rate):
        """Returns η √(1 − β₂ᵗ)/(1 − β₁ᵗ), and √(1 − β₂ᵗ)."""
        t = self.step_number()
        root = ops.sqrt(bias_correction(self.beta_2, t))
        return learning_rate * root / bias_correction(self.beta_1, t), root

    def coefficients(self, learning_rate, mean):
        """Returns the step size and ε, both times √(1 − β₂ᵗ).

        η m̂/(√v̂ + ε) with numerator and denominator multiplied by the root
        needs no pass over v to debias it.
        """
        step_size, root = self.debiased_step_size(learning_rate)
        return step_size, self.epsilon * root

    def step(self, index, gradient, step_size, epsilon):
        """Returns η m̂/(√v̂ + ε)."""
        root = ops.sqrt(self.second_moment(index))
        return self.momentums[index] * step_size / (root + epsilon)


def _maximum(x, y):
    # Keras' `maximum` rounds float64 to float32 on torch; elsewhere it is a
    # pass over memory shorter than a comparison and a choice.
    if keras.backend.standardize_dtype(x.dtype) == "float64":
        return ops.where(x > y, x, y)
    return ops.maximum(x, y)
