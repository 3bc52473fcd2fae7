"""Adam whose element-wise learning rates close in on that of SGD."""

import typing

import keras
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.optimizers import moments
from tfwd.optimizers import weight_decay as decay


@keras.saving.register_keras_serializable("tfwd")
class AdaBound(moments.MomentsOptimizer):
    """AdaBound.

    ```
    m ← β₁ m + (1 − β₁) g
    v ← β₂ v + (1 − β₂) g²
    a = η √(1 − β₂ᵗ)/(1 − β₁ᵗ)/(√v + ε)
    f = final_learning_rate·η/η_initial
    θ ← θ − clip(a, f(1 − 1/(γt + 1)), f(1 + 1/(γt))) m
    ```

    Modes of weight decay: `"l2"` (default), `"decoupled"`, `"independent"`,
    and `"stable"` with s = mean(v̂)^(−adaptivity), an extension of this library
    that no paper defines.

    Args:
        learning_rate: η, a float, schedule or callable. Defaults to 1e-3.
        weight_decay: λ. Defaults to 0.
        beta_1: β₁ in [0, 1). Defaults to 0.9.
        beta_2: β₂ in [0, 1). Defaults to 0.999.
        epsilon: ε >= 0, outside the root of the biased v. Defaults to 1e-8.
        final_learning_rate: The rate of SGD that the bounds close in on.
            Defaults to 0.1.
        gamma: γ > 0, how fast they close. Defaults to 1e-3.
        initial_learning_rate: η_initial > 0, so that the bounds follow the
            schedule. Defaults to the learning rate if that is a number; with
            a schedule or callable it must be given, since a warm-up starts
            far below the rate that the bounds are measured against.
        adaptivity: p in [0, 1] of mode `"stable"`. Defaults to 0.5.
        **base_arguments: See `tfwd.optimizers.base.Optimizer`.

    Example:
    >>> optimizer = tfwd.AdaBound(1e-3, weight_decay=5e-4)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Luo et al. 2019, Algorithm 2, in the form of the published code, which
        Xie et al. 2022 run: its bias corrections and the bound's ratio
        η/η_initial are not in the paper, and the paper divides the clipped
        rate by √t besides. The code's AdaBoundW subtracts λθ without η, which
        is mode `"independent"` here.
    """

    hyperparameters = (
        "beta_1",
        "beta_2",
        "epsilon",
        "final_learning_rate",
        "gamma",
        "initial_learning_rate",
        "adaptivity",
    )

    def __init__(
        self,
        learning_rate: types.Schedule = 1e-3,
        weight_decay: types.Schedule = 0.0,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        final_learning_rate: float = 0.1,
        gamma: float = 1e-3,
        initial_learning_rate: float | None = None,
        adaptivity: float = 0.5,
        **base_arguments: typing.Any,
    ):
        if initial_learning_rate is None:
            if callable(learning_rate):
                raise ValueError(
                    "`initial_learning_rate` must be given when "
                    "`learning_rate` is a schedule or callable. Received: "
                    f"initial_learning_rate={initial_learning_rate}"
                )
            initial_learning_rate = arguments.check_positive(
                "learning_rate", learning_rate
            )
        initial_learning_rate = arguments.check_positive(
            "initial_learning_rate", initial_learning_rate
        )
        final_learning_rate = arguments.check_non_negative(
            "final_learning_rate", final_learning_rate
        )
        gamma = arguments.check_positive("gamma", gamma)
        adaptivity = arguments.check_interval("adaptivity", adaptivity, 0, 1)
        super().__init__(
            learning_rate,
            weight_decay,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            **base_arguments,
        )
        self.final_learning_rate = final_learning_rate
        self.gamma = gamma
        self.initial_learning_rate = initial_learning_rate
        self.adaptivity = adaptivity

    def coefficients(self, learning_rate, mean):
        """Returns the step size, the lower and the upper bound."""
        t = self.step_number()
        step_size, _ = self.debiased_step_size(learning_rate)
        final = self.final_learning_rate / self.initial_learning_rate
        final = final * learning_rate
        lower = final * (1 - 1 / (self.gamma * t + 1))
        upper = final * (1 + 1 / (self.gamma * t))
        return step_size, lower, upper

    def step(self, index, gradient, step_size, lower, upper):
        """Returns the bounded rate times m."""
        rate = step_size / (ops.sqrt(self.second_moment(index)) + self.epsilon)
        return ops.clip(rate, lower, upper) * self.momentums[index]

    def stable_scale(self, mean):
        """Returns mean(v̂)^(−p)."""
        return decay.inverse_power(self.mean_v_hat(mean), self.adaptivity)
