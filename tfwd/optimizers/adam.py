"""Adam with its weight decays: Adam, AdamW, AdamS."""

import typing

import keras
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.optimizers import moments
from tfwd.optimizers import weight_decay as decay


@keras.saving.register_keras_serializable("tfwd")
class Adam(moments.MomentsOptimizer):
    """Adam.

    ```
    m ← β₁ m + (1 − β₁) g            m̂ = m/(1 − β₁ᵗ)
    v ← β₂ v + (1 − β₂) g²           v̂ = v/(1 − β₂ᵗ)
    θ ← θ − η m̂/(√v̂ + ε)
    ```

    Modes of weight decay: `"l2"` (default), `"decoupled"`, `"stable"` with
    s = (v̄ + offset)^(−adaptivity), v̄ = mean(v̂) over all elements of all
    variables that have a gradient in the step, `"independent"`, and
    `"elementwise"` with s = v̂^(−½) per element.

    Args:
        learning_rate: η, a float, schedule or callable. Defaults to 1e-3.
        weight_decay: λ. Defaults to 0.
        beta_1: β₁ in [0, 1). Defaults to 0.9.
        beta_2: β₂ in [0, 1). Defaults to 0.999.
        epsilon: ε >= 0, outside the root of the debiased v̂. Defaults to 1e-8.
        adaptivity: p in [0, 1] of mode `"stable"`; 0 is AdamW. Defaults to
            0.5.
        second_moment_offset: Added to v̄ in mode `"stable"`. Defaults to 0;
            the paper allows 1e-8 for full-batch training, where v̄ can vanish.
        **base_arguments: See `tfwd.optimizers.base.Optimizer`.

    Example:
    >>> optimizer = tfwd.Adam(1e-3, weight_decay=5e-4)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Kingma & Ba 2015, Algorithm 1. Xie et al. 2022, Algorithm 2 (L2 branch)
        and Eq. 10 for `"elementwise"`.

    Paper and code: ε stands as in Kingma & Ba's Algorithm 1 and PyTorch.
    `keras.optimizers.Adam` adds it to the root of the biased v, has 1e-7, and
    reads `weight_decay` as decoupled.
    """

    hyperparameters = (
        "beta_1",
        "beta_2",
        "epsilon",
        "adaptivity",
        "second_moment_offset",
    )
    weight_decay_modes: tuple[types.DecayMode, ...] = decay.MODES

    def __init__(
        self,
        learning_rate: types.Schedule = 1e-3,
        weight_decay: types.Schedule = 0.0,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        adaptivity: float = 0.5,
        second_moment_offset: float = 0.0,
        **base_arguments: typing.Any,
    ):
        adaptivity = arguments.check_interval("adaptivity", adaptivity, 0, 1)
        second_moment_offset = arguments.check_non_negative(
            "second_moment_offset", second_moment_offset
        )
        super().__init__(
            learning_rate,
            weight_decay,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            **base_arguments,
        )
        self.adaptivity = adaptivity
        self.second_moment_offset = second_moment_offset

    def stable_scale(self, mean):
        """Returns (v̄ + offset)^(−p)."""
        return decay.inverse_power(
            self.mean_v_hat(mean), self.adaptivity, self.second_moment_offset
        )

    def elementwise_scale(self, index):
        """Returns v̂^(−½)."""
        v = self.second_moment(index)
        correction = moments.bias_correction(self.beta_2, self.step_number())
        return decay.inverse_power(v / ops.cast(correction, v.dtype), 0.5)


@keras.saving.register_keras_serializable("tfwd")
class AdamW(Adam):
    """Adam with decoupled weight decay: θ ← θ − η m̂/(√v̂ + ε) − ηλθ.

    The arguments are those of `tfwd.Adam`; the mode is `"decoupled"`.

    Example:
    >>> optimizer = tfwd.AdamW(1e-3, weight_decay=0.01)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Loshchilov & Hutter 2019, Algorithm 2. Their printed rule multiplies λθ
        by the schedule's multiplier alone; libraries, and this class, by the
        scheduled learning rate. Use `weight_decay_mode="independent"` of
        `tfwd.Adam` with a `weight_decay_schedule` for the printed rule.
        `keras.optimizers.AdamW` has λ = 0.004 by default.
    """

    weight_decay_modes = ("decoupled",)


@keras.saving.register_keras_serializable("tfwd")
class AdamS(Adam):
    """Adam with stable weight decay.

    ```
    v̄ = mean(v̂) over all elements of all variables
    θ ← θ − η m̂/(√v̂ + ε) − η v̄^(−½) λθ
    ```

    The arguments are those of `tfwd.Adam`; the mode is `"stable"`. The paper
    gives it the λ of SGD and L2, a thousandth of AdamW's: 5e-4 in Table 1, 1e-4
    in Table 2. By these the first is the better one for four of five networks,
    the second for ResNet18 on CIFAR-10 (4.69 % test error against 4.91 %).

    Example:
    >>> optimizer = tfwd.AdamS(1e-3, weight_decay=5e-4)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Xie et al. 2022, Algorithm 2 and Eq. 11. v̄ is one number for the whole
        model, of the v̂ of this step, as in the published code; variables that
        are excluded from the decay count in it. (In a Keras `MultiOptimizer`
        it is one number for each of its optimizers.) A v̄ of zero means that
        there was no gradient yet, and nothing decays; the published code
        divides by zero there.
    """

    weight_decay_modes = ("stable",)
