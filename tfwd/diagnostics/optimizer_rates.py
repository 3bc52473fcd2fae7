"""What an optimizer does now: its learning rate, decay rate and damping."""

import dataclasses
import math

import keras

from tfwd import kfac
from tfwd.optimizers import decaying
from tfwd.optimizers import sgd
from tfwd.optimizers import wrappers


@dataclasses.dataclass(frozen=True)
class Rates:
    """Floats of the step to come; None where an optimizer has no such number.

    Attributes:
        learning_rate: ηₜ, as scheduled.
        decay_rate: The fraction of a weight that decay takes in a step, if the
            weight decays in full; see `decay_rate`.
        damping: K-FAC's λ.
        curvature: K-FAC's kind of curvature.
        curvature_scale: What K-FAC multiplies it by.
        factors: {id of a variable: its factor of ηₜ}, where it has one.
    """

    learning_rate: float | None = None
    decay_rate: float | None = None
    damping: float | None = None
    curvature: str | None = None
    curvature_scale: float | None = None
    factors: dict[int, float] = dataclasses.field(default_factory=dict)

    def of_variable(self, variable):
        """Returns the rates with the learning rate that a variable has."""
        if self.learning_rate is None:
            return self
        factor = self.factors.get(id(variable), 1.0)
        return dataclasses.replace(
            self, learning_rate=self.learning_rate * factor
        )

    @property
    def expected_steps(self):
        """One over `decay_rate`: the steps after which 1/e is left."""
        if self.decay_rate is None:
            return None
        return 1 / self.decay_rate if self.decay_rate else math.inf


def of(optimizer, learning_rate=None):
    """Returns the `Rates` of an optimizer.

    Args:
        optimizer: A Keras optimizer, also in Keras' `LossScaleOptimizer`, or
            None. Of `MultiOptimizer`, which has several rates, none is known.
        learning_rate: A float in place of the optimizer's ηₜ, or None.
    """
    optimizer = wrappers.unwrapped(optimizer)
    if optimizer is None or wrappers.is_multi_optimizer(optimizer):
        return Rates(learning_rate)
    if learning_rate is None:
        learning_rate = _float(optimizer.learning_rate)
    rates = Rates(
        learning_rate,
        decay_rate(optimizer, learning_rate),
        factors=_factors(optimizer),
    )
    if not isinstance(optimizer, kfac.KFAC):
        return rates
    return dataclasses.replace(
        rates,
        damping=_float(optimizer.damping_now()),
        curvature=optimizer.curvature,
        curvature_scale=optimizer.curvature_scale or 1.0,
    )


def decay_rate(optimizer, learning_rate):
    """Returns ηₜsₜλₜ, or λₜ in mode `"independent"`.

    In mode `"l2"` it is known for SGD alone, whose penalty passes through the
    momentum as the gradient does, and so takes over time what mode `"stable"`
    takes (Xie et al. 2022, Eq. 22). In mode `"stable"` of the other optimizers
    sₜ is that of the last step. Before a first step, and in mode
    `"elementwise"`, no number is known.

    Args:
        optimizer: A Keras optimizer without a wrapper.
        learning_rate: ηₜ, a float.

    Returns:
        A float, or None.
    """
    if not isinstance(optimizer, decaying.DecayingOptimizer):
        # Keras' own decay is decoupled; None stands for none.
        return learning_rate * (optimizer.weight_decay or 0.0)
    mode = optimizer.weight_decay_mode
    coefficient = _float(optimizer.scheduled_weight_decay())
    if mode == "independent":
        return coefficient
    if mode == "decoupled":
        return learning_rate * coefficient
    if isinstance(optimizer, sgd.SGD):
        return learning_rate * optimizer.stable_scale(None) * coefficient
    if mode == "stable" and _float(optimizer.iterations):
        return learning_rate * _float(optimizer.effective_weight_decay)
    return None


def _factors(optimizer):
    if not isinstance(optimizer, decaying.DecayingOptimizer):
        return {}
    if not optimizer.built:
        return {}
    variables = map(id, optimizer.model_variables())
    return dict(zip(variables, optimizer.learning_rate_factors, strict=True))


def _float(value):
    return float(keras.ops.convert_to_numpy(value))
