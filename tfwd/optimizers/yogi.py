"""Adam whose second moment moves by additive, not multiplicative, steps."""

import typing

import keras
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.optimizers import initial_values
from tfwd.optimizers import moments
from tfwd.optimizers import weight_decay as decay


@keras.saving.register_keras_serializable("tfwd")
class Yogi(moments.MomentsOptimizer):
    """Yogi.

    ```
    m ← β₁ m + (1 − β₁) g                        m̂ = m/(1 − β₁ᵗ)
    v ← v − (1 − β₂) sign(v − g²) g²             v̂ = v/(1 − β₂ᵗ)
    θ ← θ − η m̂/(√v̂ + ε)
    ```

    Modes of weight decay: `"l2"` (default), `"decoupled"`, `"independent"`,
    and `"stable"` with s = mean(v̂)^(−adaptivity), an extension of this library
    that no paper defines.

    Args:
        learning_rate: η, a float, schedule or callable. Defaults to 1e-3, the
            rate of the Adam-like methods in Xie et al. 2022, who do not state
            Yogi's; Zaheer et al. recommend 0.01.
        weight_decay: λ. Defaults to 0.
        beta_1: β₁ in [0, 1). Defaults to 0.9.
        beta_2: β₂ in [0, 1). Defaults to 0.999.
        epsilon: ε >= 0, outside the root of the debiased v̂. Defaults to 1e-3.
        initial_accumulator_value: v₀ >= 0. Defaults to 1e-6.
        adaptivity: p in [0, 1] of mode `"stable"`. Defaults to 0.5.
        **base_arguments: See `tfwd.optimizers.base.Optimizer`.

    Example:
    >>> optimizer = tfwd.Yogi(1e-3, weight_decay=5e-4)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Zaheer et al. 2018, Algorithm 2, which has no bias correction. The
        public versions differ: TensorFlow Addons adds ε to the root of the
        biased v, PyTorch ports start m at v₀ as well. Here m₀ = 0, v₀ is
        debiased like all of v, and ε stands outside the debiased root.
    """

    hyperparameters = (
        "beta_1",
        "beta_2",
        "epsilon",
        "initial_accumulator_value",
        "adaptivity",
    )

    def __init__(
        self,
        learning_rate: types.Schedule = 1e-3,
        weight_decay: types.Schedule = 0.0,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-3,
        initial_accumulator_value: float = 1e-6,
        adaptivity: float = 0.5,
        **base_arguments: typing.Any,
    ):
        initial_accumulator_value = arguments.check_non_negative(
            "initial_accumulator_value", initial_accumulator_value
        )
        adaptivity = arguments.check_interval("adaptivity", adaptivity, 0, 1)
        super().__init__(
            learning_rate,
            weight_decay,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            **base_arguments,
        )
        self.initial_accumulator_value = initial_accumulator_value
        self.adaptivity = adaptivity

    def initial_second_moment(self):
        """Returns the initializer of v, the constant v₀."""
        return initial_values.constant(self.initial_accumulator_value)

    def next_second_moment(self, v, gradient):
        """Returns v − (1 − β₂) sign(v − g²) g²."""
        square = ops.square(gradient)
        return v - (1 - self.beta_2) * ops.sign(v - square) * square

    def stable_scale(self, mean):
        """Returns mean(v̂)^(−p)."""
        return decay.inverse_power(self.mean_v_hat(mean), self.adaptivity)
