"""Adam with a partial power of its second moment."""

import typing

import keras
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.optimizers import moments
from tfwd.optimizers import weight_decay as decay


@keras.saving.register_keras_serializable("tfwd")
class Padam(moments.MomentsOptimizer):
    """Padam: between AMSGrad (partial = ½) and SGD with momentum (0).

    ```
    m ← β₁ m + (1 − β₁) g
    v ← β₂ v + (1 − β₂) g²
    v_max ← max(v_max, v)                        v̂_max = v_max/(1 − β₂ᵗ)
    θ ← θ − η √(1 − β₂ᵗ)/(1 − β₁ᵗ)·m/(√v_max + ε)^(2·partial)
    ```

    Modes of weight decay: `"l2"` (default), `"decoupled"`, `"independent"`,
    and `"stable"` with s = mean(v̂_max)^(−partial), an extension of this
    library that no paper defines.

    Args:
        learning_rate: η, a float, schedule or callable. Defaults to 0.01, as
            in Xie et al. 2022.
        weight_decay: λ. Defaults to 0.
        beta_1: β₁ in [0, 1). Defaults to 0.9.
        beta_2: β₂ in [0, 1). Defaults to 0.999.
        epsilon: ε >= 0, outside the root of the biased v_max. Defaults to
            1e-8.
        partial: In [0, ½]. Defaults to ¼, as in the published class; the
            published scripts run ⅛ with η = 0.1, and Xie et al. 2022 do not
            state theirs.
        **base_arguments: See `tfwd.optimizers.base.Optimizer`.

    Example:
    >>> optimizer = tfwd.Padam(0.01, weight_decay=5e-4)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Chen et al. 2018, Algorithm 1, in the form of the published code: the
        paper has no bias correction, and the code's √(1 − β₂ᵗ) is the same for
        every `partial`.
    """

    hyperparameters = ("beta_1", "beta_2", "epsilon", "partial")
    keeps_maximum = True

    def __init__(
        self,
        learning_rate: types.Schedule = 0.01,
        weight_decay: types.Schedule = 0.0,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        partial: float = 0.25,
        **base_arguments: typing.Any,
    ):
        partial = arguments.check_interval("partial", partial, 0, 0.5)
        super().__init__(
            learning_rate,
            weight_decay,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            **base_arguments,
        )
        self.partial = partial

    def coefficients(self, learning_rate, mean):
        """Returns the debiased step size."""
        step_size, _ = self.debiased_step_size(learning_rate)
        return (step_size,)

    def step(self, index, gradient, step_size):
        """Returns the step size times m/(√v_max + ε)^(2·partial)."""
        root = ops.sqrt(self.second_moment(index)) + self.epsilon
        denominator = ops.power(root, 2 * self.partial)
        return self.momentums[index] * step_size / denominator

    def stable_scale(self, mean):
        """Returns mean(v̂_max)^(−partial)."""
        return decay.inverse_power(self.mean_v_hat(mean), self.partial)
