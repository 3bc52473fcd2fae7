"""Adaptive inertia: Adai, AdaiW, AdaiS."""

import typing

import keras
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.optimizers import base
from tfwd.optimizers import variable_types
from tfwd.optimizers import weight_decay as decay


@keras.saving.register_keras_serializable("tfwd")
class Adai(base.Optimizer):
    """Adai: the momentum, not the learning rate, adapts per element.

    ```
    v ← β₂ v + (1 − β₂) g²                       v̂ = v/(1 − β₂ᵗ)
    v̄ = mean(v̂) over all elements of all variables
    β₁ ← clip(1 − β₀ v̂/v̄, 0, 1 − ε)              per element
    m ← β₁ m + (1 − β₁) g                        m̂ = m/(1 − ∏β₁)
    θ ← θ − η m̂
    ```

    Modes of weight decay: `"l2"` (default), `"decoupled"`, `"stable"` with
    s = 1 since E[m] = E[g], `"independent"`.

    Args:
        learning_rate: η, a float, schedule or callable. Defaults to 1.0: a
            step is a debiased mean of gradients, 1/(1 − 0.9) times shorter
            than one of SGD with momentum 0.9, whose 0.1 it answers. Xie et al.
            2022 do not state theirs.
        weight_decay: λ. Defaults to 0.
        beta_0: β₀ >= 0. Defaults to 0.1.
        beta_2: β₂ in [0, 1). Defaults to 0.99.
        epsilon: ε in (0, 1], the bound 1 − ε of the inertia; no denominator
            holds it. Defaults to 1e-3.
        **base_arguments: See `tfwd.optimizers.base.Optimizer`.

    Example:
    >>> optimizer = tfwd.Adai(0.1, weight_decay=5e-4)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Xie et al. 2022, Algorithm 4 (L2 branch). Xie et al. 2022, "Adaptive
        Inertia", Algorithm 2. Paper and published code agree. v̄ is one number
        for the whole model, or for each optimizer of a `MultiOptimizer`.
    """

    hyperparameters = ("beta_0", "beta_2", "epsilon")
    squares_gradients = True

    def __init__(
        self,
        learning_rate: types.Schedule = 1.0,
        weight_decay: types.Schedule = 0.0,
        *,
        beta_0: float = 0.1,
        beta_2: float = 0.99,
        epsilon: float = 1e-3,
        **base_arguments: typing.Any,
    ):
        beta_0 = arguments.check_non_negative("beta_0", beta_0)
        beta_2 = arguments.check_decay_rate("beta_2", beta_2)
        epsilon = arguments.check_interval(
            "epsilon", epsilon, 0, 1, open_low=True
        )
        super().__init__(learning_rate, weight_decay, **base_arguments)
        self.beta_0 = beta_0
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables):
        """Creates m, v and the weight 1 − ∏β₁ that m has gathered.

        Raises:
            ValueError: If a variable is of float16.
        """
        if self.built:
            return
        variable_types.check_holds_squares(variables)
        super().build(variables)
        self.momentums, self.velocities, self.gathered_weights = (
            self.add_optimizer_variables(
                variables, ["momentum", "velocity", "gathered_weight"]
            )
        )

    def accumulate(self, index, gradient):
        """Updates v."""
        v = self.velocities[index]
        self.assign(
            v, self.beta_2 * v + (1 - self.beta_2) * ops.square(gradient)
        )

    def needs_second_moment(self):
        """Returns True: the inertia depends on the mean of v, in every mode."""
        return True

    def second_moment(self, index):
        """Returns v."""
        return ops.convert_to_tensor(self.velocities[index])

    def coefficients(self, learning_rate, mean):
        """Returns η and β₀/v̄, 0 without any gradient yet.

        Not debiased, since the correction cancels in v̂/v̄.
        """
        return learning_rate, self.beta_0 * decay.inverse_power(mean, 1)

    def advance(self, index, gradient, learning_rate, slope):
        """Updates m and the weight it has gathered."""
        m, weight = self.momentums[index], self.gathered_weights[index]
        # 1 − β₁, and 1 − ∏β₁ as the average of ones: both free of the
        # cancellation that subtracting from one costs in float32.
        one_minus_beta_1 = ops.clip(
            self.second_moment(index) * slope, self.epsilon, 1.0
        )
        self.assign_add(m, one_minus_beta_1 * (gradient - m))
        self.assign_add(weight, one_minus_beta_1 * (1 - weight))

    def step(self, index, gradient, learning_rate, slope):
        """Returns η m̂."""
        m, weight = self.momentums[index], self.gathered_weights[index]
        return m * learning_rate / weight

    def stable_scale(self, mean):
        """Returns 1: the debiased momentum keeps the learning rate."""
        return 1.0


@keras.saving.register_keras_serializable("tfwd")
class AdaiW(Adai):
    """Adai with decoupled weight decay, the same as `tfwd.AdaiS`.

    The arguments are those of `tfwd.Adai`; the mode is `"decoupled"`.

    Example:
    >>> optimizer = tfwd.AdaiW(0.1, weight_decay=5e-4)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Xie et al. 2022, Algorithm 4.
    """

    weight_decay_modes = ("decoupled",)


@keras.saving.register_keras_serializable("tfwd")
class AdaiS(Adai):
    """Adai with stable weight decay: θ ← θ − η m̂ − ηλθ.

    The arguments are those of `tfwd.Adai`; the mode is `"stable"`.

    Example:
    >>> optimizer = tfwd.AdaiS(0.1, weight_decay=5e-4)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Xie et al. 2022, Algorithm 4 (stable branch).
    """

    weight_decay_modes = ("stable",)
