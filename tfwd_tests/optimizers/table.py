"""The table that every public optimizer must stand in.

A row is an optimizer with one set of constants. Each row is run in every mode
of weight decay that its class accepts.
"""

import dataclasses

import tfwd


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
    Row("AdaBound", "adabound"),
    Row(
        "AdaBound",
        "adabound",
        constants={"gamma": 0.5, "final_learning_rate": 0.02},
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


def case_id(case):
    row, mode = case
    return "-".join(part for part in (row.name, row.label, mode) if part)
