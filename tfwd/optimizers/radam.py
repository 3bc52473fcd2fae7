"""Adam that waits until the variance of its step size is known."""

import math
import typing

import keras
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.optimizers import moments
from tfwd.optimizers import weight_decay as decay

_THRESHOLD = 5


def approximated_length(beta_2, t):
    """Returns ρₜ = ρ∞ − 2tβ₂ᵗ/(1 − β₂ᵗ), with ρ∞ = 2/(1 − β₂) − 1.

    Computed as ρₜ = t + L(y/2) − t·L(ty/2), with y = −ln β₂ and Langevin's
    function L(x) = coth x − 1/x. The two terms of the definition are near ρ∞
    while ρₜ is near t: for β₂ = 0.9999 float32 would leave an error of 0.004
    in their difference, larger than what separates ρ₅ = 4.9996 from the
    threshold 5.

    Args:
        beta_2: β₂, a Python float in (0, 1).
        t: Steps, a float scalar of at least 1.
    """
    half = -math.log(beta_2) / 2
    langevin = 1 / math.tanh(half) - 1 / half
    return t + langevin - t * _langevin(t * half)


def _langevin(x):
    """Returns coth x − 1/x for x > 0, by its series below 0.1."""
    square = x * x
    series = x / 3 * (1 - square / 15 * (1 - square / 10.5 * (1 - square / 10)))
    large = ops.where(x < 0.1, ops.ones_like(x), x)
    return ops.where(x < 0.1, series, 1 + 2 / ops.expm1(2 * large) - 1 / large)


def rectification(rho, rho_infinity):
    """Returns rₜ = √[(ρₜ−4)(ρₜ−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρₜ)], for ρₜ of at least 5.

    Below the threshold, where no step is taken, it returns r at 5.
    """
    rho = ops.where(rho < _THRESHOLD, _THRESHOLD * ops.ones_like(rho), rho)
    scale = rho_infinity / ((rho_infinity - 4) * (rho_infinity - 2))
    return ops.sqrt((rho - 4) * (rho - 2) / rho * scale)


@keras.saving.register_keras_serializable("tfwd")
class RAdam(moments.MomentsOptimizer):
    """Rectified Adam.

    ```
    m ← β₁ m + (1 − β₁) g
    v ← β₂ v + (1 − β₂) g²
    ρ∞ = 2/(1 − β₂) − 1,  ρₜ = ρ∞ − 2tβ₂ᵗ/(1 − β₂ᵗ)
    if ρₜ ≥ 5:
        r = √[(ρₜ − 4)(ρₜ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρₜ)]
        θ ← θ − η r √(1 − β₂ᵗ)/(1 − β₁ᵗ)·m/(√v + ε)
    ```

    Below the threshold, in steps 1 to 5 for β₂ = 0.999, only m and v move:
    there is neither a step nor a decay.

    Modes of weight decay: `"decoupled"` (default), `"l2"`, `"independent"`,
    and `"stable"` with s = r·mean(v̂)^(−½), an extension of this library that
    no paper defines.

    Args:
        learning_rate: η, a float, schedule or callable. Defaults to 1e-3.
        weight_decay: λ. Defaults to 0.
        beta_1: β₁ in [0, 1). Defaults to 0.9.
        beta_2: β₂ in [⅔, 1), so that ρ∞ reaches 5. Defaults to 0.999.
        epsilon: ε >= 0, outside the root of the biased v. Defaults to 1e-8.
        **base_arguments: See `tfwd.optimizers.base.Optimizer`.

    Example:
    >>> optimizer = tfwd.RAdam(1e-3, weight_decay=0.01)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Liu et al. 2020, Algorithm 2, with the threshold of the published code:
        the paper steps from ρₜ > 4 on, and below takes a step of SGD with
        momentum, which the final code leaves out. Its decay is decoupled; Xie
        et al. 2022 do not say which theirs is.
    """

    hyperparameters = ("beta_1", "beta_2", "epsilon")
    weight_decay_modes = ("decoupled", "l2", "stable", "independent")

    def __init__(
        self,
        learning_rate: types.Schedule = 1e-3,
        weight_decay: types.Schedule = 0.0,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        **base_arguments: typing.Any,
    ):
        beta_2 = arguments.check_interval(
            "beta_2", beta_2, 2 / 3, 1, open_high=True
        )
        super().__init__(
            learning_rate,
            weight_decay,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            **base_arguments,
        )

    def rectification(self):
        """Returns r of this step, 0 where there is no step."""
        rho = approximated_length(self.beta_2, self.step_number())
        rho_infinity = 2 / (1 - self.beta_2) - 1
        r = rectification(rho, rho_infinity)
        return ops.where(rho >= _THRESHOLD, r, ops.zeros_like(r))

    def coefficients(self, learning_rate, mean):
        """Returns the rectified, debiased step size."""
        step_size, _ = self.debiased_step_size(learning_rate)
        return (step_size * self.rectification(),)

    def step(self, index, gradient, step_size):
        """Returns the step size times m/(√v + ε)."""
        root = ops.sqrt(self.second_moment(index))
        return self.momentums[index] * step_size / (root + self.epsilon)

    def effective_coefficient(self, coefficient, mean):
        """Returns sₜλₜ, which is 0 in a step that does not move."""
        effective = super().effective_coefficient(coefficient, mean)
        if self.weight_decay_mode == "l2":
            return effective
        moves = self.rectification() > 0
        return ops.where(moves, effective, ops.zeros_like(effective))

    def stable_scale(self, mean):
        """Returns r·mean(v̂)^(−½)."""
        scale = decay.inverse_power(self.mean_v_hat(mean), 0.5)
        return self.rectification() * scale
