"""Stochastic gradient descent with momentum: SGD, SGDW, SGDS."""

import typing

import keras
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.optimizers import base


@keras.saving.register_keras_serializable("tfwd")
class SGD(base.Optimizer):
    """SGD with heavy-ball momentum.

    ```
    m ← momentum·m + (1 − dampening)·g          m₀ = 0
    θ ← θ − η m
    θ ← θ − η (g + momentum·m)                  with nesterov
    ```

    With `folded_learning_rate` the learning rate goes into the buffer, which
    is the same as long as η is constant; after a drop of η the buffer still
    holds the larger one:

    ```
    m ← momentum·m − η (1 − dampening)·g
    θ ← θ + m
    θ ← θ + momentum·m − η g                    with nesterov
    ```

    Modes of weight decay: `"l2"` (default), `"decoupled"`, `"stable"` with
    s = (1 − dampening)/(1 − momentum), `"independent"`.

    Args:
        learning_rate: η, a float, schedule or callable. Defaults to 0.1.
        weight_decay: λ. Defaults to 0.
        momentum: In [0, 1). 0 keeps no buffer. Defaults to 0.9.
        dampening: In [0, 1]. Defaults to 0.
        nesterov: Whether to look ahead; needs momentum and no dampening.
        folded_learning_rate: Whether the buffer holds η·g.
        **base_arguments: See `tfwd.optimizers.base.Optimizer`.

    Example:
    >>> optimizer = tfwd.SGD(0.1, weight_decay=5e-4, momentum=0.9)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Xie et al. 2022, Algorithm 7 (the L2 branch), and Algorithm 3 for
        `folded_learning_rate`. Zhang et al. 2019 call the same rule "weight
        decay" for SGD: their code adds λθ to the gradient before the momentum.

    Paper and code: the published code, like PyTorch, does not dampen the first
    gradient of a buffer; here m₀ = 0 as in the paper. `keras.optimizers.SGD`
    folds the learning rate. Nesterov's form is in the published code alone.
    """

    hyperparameters = (
        "momentum",
        "dampening",
        "nesterov",
        "folded_learning_rate",
    )

    def __init__(
        self,
        learning_rate: types.Schedule = 0.1,
        weight_decay: types.Schedule = 0.0,
        *,
        momentum: float = 0.9,
        dampening: float = 0.0,
        nesterov: bool = False,
        folded_learning_rate: bool = False,
        **base_arguments: typing.Any,
    ):
        momentum = arguments.check_decay_rate("momentum", momentum)
        dampening = arguments.check_interval("dampening", dampening, 0, 1)
        nesterov = arguments.check_boolean("nesterov", nesterov)
        folded_learning_rate = arguments.check_boolean(
            "folded_learning_rate", folded_learning_rate
        )
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(
                "`nesterov` needs momentum > 0 and dampening = 0. Received: "
                f"momentum={momentum}, dampening={dampening}"
            )
        super().__init__(learning_rate, weight_decay, **base_arguments)
        self.momentum = momentum
        self.dampening = dampening
        self.nesterov = nesterov
        self.folded_learning_rate = folded_learning_rate

    def build(self, variables):
        """Creates the momentum buffers, if there is momentum."""
        if self.built:
            return
        super().build(variables)
        if self.momentum:
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def advance(self, index, gradient, learning_rate):
        """Updates the buffer."""
        if not self.momentum:
            return
        new = self._dampened(gradient)
        m = self.momentum * self.momentums[index]
        m = m - learning_rate * new if self.folded_learning_rate else m + new
        self.assign(self.momentums[index], m)

    def step(self, index, gradient, learning_rate):
        """Returns η m."""
        if not self.momentum:
            return learning_rate * self._dampened(gradient)
        m = ops.convert_to_tensor(self.momentums[index])
        if self.folded_learning_rate:
            if self.nesterov:
                m = self.momentum * m - learning_rate * gradient
            return -m
        if self.nesterov:
            m = gradient + self.momentum * m
        return learning_rate * m

    def _dampened(self, gradient):
        return (1 - self.dampening) * gradient if self.dampening else gradient

    def stable_scale(self, mean):
        """Returns (1 − dampening)/(1 − momentum)."""
        return (1 - self.dampening) / (1 - self.momentum)


@keras.saving.register_keras_serializable("tfwd")
class SGDW(SGD):
    """SGD with decoupled weight decay: θ ← θ − η m − ηλθ.

    The arguments are those of `tfwd.SGD`; the mode is `"decoupled"`.

    Example:
    >>> optimizer = tfwd.SGDW(0.1, weight_decay=5e-3)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Loshchilov & Hutter 2019, Algorithm 1, which folds the learning rate
        into the buffer and multiplies λθ by the schedule's multiplier alone;
        libraries, and this class, multiply it by the scheduled learning rate.
        Xie et al. 2022, Algorithm 7, find its best λ 1/(1 − momentum) times
        that of `tfwd.SGDS`.
    """

    weight_decay_modes = ("decoupled",)


@keras.saving.register_keras_serializable("tfwd")
class SGDS(SGD):
    """SGD with stable weight decay.

    ```
    θ ← θ − η m − (1 − dampening)/(1 − momentum)·ηλθ
    ```

    The arguments are those of `tfwd.SGD`; the mode is `"stable"`.

    Example:
    >>> optimizer = tfwd.SGDS(0.1, weight_decay=5e-4)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = model.fit(x, y, verbose=0)

    References:
        Xie et al. 2022, Algorithm 8 and Eq. 22. Paper and code agree to leave
        out the bias correction 1 − momentumᵗ of the factor.
    """

    weight_decay_modes = ("stable",)
