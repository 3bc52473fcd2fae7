"""The table that every public optimizer must stand in.

A row is an optimizer with one set of constants. Each row is run in every mode
of weight decay that its class accepts.
"""

import dataclasses

import keras
import pytest

import tfwd
from tfwd_tests.optimizers import reference

WEIGHT_DECAY = 0.02


@dataclasses.dataclass(frozen=True)
class Row:
    """An optimizer, its algorithm in `reference`, and its constants.

    Learning rates are powers of two: Keras' schedules hold their values in
    float32, and the comparison in float64 must not be one of roundings.
    """

    name: str
    algorithm: str
    learning_rate: float = 2.0**-7
    constants: dict = dataclasses.field(default_factory=dict)
    label: str = ""

    @property
    def cls(self):
        return getattr(tfwd, self.name)

    @property
    def family(self):
        """The name without the W or S of a fixed mode."""
        if len(self.cls.weight_decay_modes) == 1:
            return self.name[:-1]
        return self.name

    def make(self, mode, **arguments):
        """Returns the optimizer at constant η and λ."""
        return self.cls(
            self.learning_rate,
            weight_decay=WEIGHT_DECAY,
            weight_decay_mode=mode,
            **self.constants,
            **arguments,
        )

    def expected(self, mode, theta, gradients, **factors):
        """Returns the reference's parameters at constant η and λ."""
        return reference.train(
            self.algorithm,
            mode,
            theta,
            gradients,
            [self.learning_rate] * len(gradients),
            [WEIGHT_DECAY] * len(gradients),
            **factors,
            **self.constants,
        )


ROWS = (
    Row("SGD", "sgd"),
    Row("SGD", "sgd", constants={"momentum": 0.0}, label="vanilla"),
    Row("SGD", "sgd", constants={"dampening": 0.3}, label="dampened"),
    Row("SGD", "sgd", constants={"nesterov": True}, label="nesterov"),
    Row("SGD", "sgd", constants={"folded_learning_rate": True}, label="folded"),
    Row(
        "SGD",
        "sgd",
        constants={"folded_learning_rate": True, "nesterov": True},
        label="folded_nesterov",
    ),
    Row("SGDW", "sgd"),
    Row("SGDS", "sgd"),
    Row("Adam", "adam"),
    Row(
        "Adam",
        "adam",
        constants={"adaptivity": 0.3, "second_moment_offset": 1e-3},
        label="adaptivity",
    ),
    Row("Adam", "adam", constants={"beta_1": 0.0}, label="no_momentum"),
    Row("AdamW", "adam"),
    Row("AdamS", "adam"),
    Row("AMSGrad", "amsgrad"),
    Row("AMSGradW", "amsgrad"),
    Row("AMSGradS", "amsgrad"),
    Row("Adai", "adai", learning_rate=2.0**-3),
    Row("AdaiW", "adai", learning_rate=2.0**-3),
    Row("AdaiS", "adai", learning_rate=2.0**-3),
    Row("AdaBound", "adabound", constants={"initial_learning_rate": 2.0**-7}),
    Row(
        "AdaBound",
        "adabound",
        constants={
            "gamma": 0.5,
            "final_learning_rate": 0.02,
            "initial_learning_rate": 2.0**-7,
        },
        label="bounds_active",
    ),
    Row("Padam", "padam"),
    Row("Padam", "padam", constants={"partial": 0.125}, label="eighth"),
    Row("Yogi", "yogi"),
    Row("RAdam", "radam"),
    Row("RAdam", "radam", constants={"beta_2": 0.9}, label="short"),
)

CASES = tuple(
    (row, mode) for row in ROWS for mode in row.cls.weight_decay_modes
)
DEFAULT_CASES = tuple((row, mode) for row, mode in CASES if not row.label)
STABLE = ("SGDS", "AdamS", "AMSGradS", "AdaiS")


def abridged(cases):
    """The same cases, all but the stable optimizers' under `--full` alone."""
    return [
        case
        if case[0].name in STABLE
        else pytest.param(case, marks=pytest.mark.many)
        for case in cases
    ]


def case_id(case):
    row, mode = case
    return "-".join(part for part in (row.name, row.label, mode) if part)


def schedules(learning_rate, steps):
    """An eightfold drop of η after 30 steps, a halving of λ after 20.

    Returns:
        Both as Keras schedules, and the η and λ of each step.
    """
    step_decay = keras.optimizers.schedules.PiecewiseConstantDecay
    rate = step_decay([29], [learning_rate, learning_rate / 8])
    factor = step_decay([19], [1.0, 0.5])
    rates = [learning_rate / (1 if t < 30 else 8) for t in range(steps)]
    decays = [WEIGHT_DECAY * (1 if t < 20 else 0.5) for t in range(steps)]
    return rate, factor, rates, decays
