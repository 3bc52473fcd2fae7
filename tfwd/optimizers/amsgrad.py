"""Adam that never forgets its largest second moment, with its decays."""

import keras

from tfwd.optimizers import adam


@keras.saving.register_keras_serializable("tfwd")
class AMSGrad(adam.Adam):
    """AMSGrad.

    ```
    m ← β₁ m + (1 − β₁) g            m̂ = m/(1 − β₁ᵗ)
    v ← β₂ v + (1 − β₂) g²
    v_max ← max(v_max, v)            v̂ = v_max/(1 − β₂ᵗ)
    θ ← θ − η m̂/(√v̂ + ε)
    ```

    The arguments and the modes of weight decay are those of `tfwd.Adam`, with
    this v̂ in `"stable"` and `"elementwise"`.

    Example:
    >>> optimizer = tfwd.AMSGrad(1e-3, weight_decay=5e-4)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Reddi et al. 2018, Algorithm 2, who print no debiasing. Xie et al.
        2022, Algorithm 5 (L2 branch): their code, PyTorch's and this one take
        the maximum of the biased v and debias it afterwards.
    """

    keeps_maximum = True


@keras.saving.register_keras_serializable("tfwd")
class AMSGradW(AMSGrad):
    """AMSGrad with decoupled weight decay: θ ← θ − η m̂/(√v̂ + ε) − ηλθ.

    The arguments are those of `tfwd.Adam`; the mode is `"decoupled"`.

    Example:
    >>> optimizer = tfwd.AMSGradW(1e-3, weight_decay=0.01)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Xie et al. 2022, Algorithm 5 (decoupled branch).
    """

    weight_decay_modes = ("decoupled",)


@keras.saving.register_keras_serializable("tfwd")
class AMSGradS(AMSGrad):
    """AMSGrad with stable weight decay.

    ```
    v̄ = mean(v̂) over all elements of all variables, v̂ = v_max/(1 − β₂ᵗ)
    θ ← θ − η m̂/(√v̂ + ε) − η v̄^(−½) λθ
    ```

    The arguments are those of `tfwd.Adam`; the mode is `"stable"`.

    Example:
    >>> optimizer = tfwd.AMSGradS(1e-3, weight_decay=5e-4)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Xie et al. 2022, Algorithm 6. v̄ is taken as in `tfwd.AdamS`.
    """

    weight_decay_modes = ("stable",)
