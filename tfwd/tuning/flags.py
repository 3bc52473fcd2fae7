"""The flags of a search, beside those of the training: one dataclass."""

import dataclasses

from tfwd.training.config import fields
from tfwd.training.config import rules

DEFAULT_MAX_TRIALS = 20
# Those that draw trials, without an end of their own.
_DRAWING = ("random", "bayesian")


@dataclasses.dataclass(frozen=True)
class Search:
    """Everything that decides a search but what its trials train.

    `None` means: not given, the default of whoever uses the value.

    Raises:
        ValueError: A value breaks a rule; the message names the flag.
    """

    tuner: str = fields.setting(
        "grid",
        "how cells are chosen: all of them, drawn at random, drawn where "
        "results let hope (bayesian), or many for a few epochs and the best "
        "of them for more (hyperband)",
        group="Search",
        choices=("grid", *_DRAWING, "hyperband"),
    )
    search: tuple[str, ...] = fields.setting(
        (),
        "NAME=log:LOW:HIGH:N, NAME=linear:LOW:HIGH:N or NAME=choice:A,B,C: "
        "values of a flag of the training, or of a name that a --link uses; "
        "N, the points of a grid, is for --tuner=grid; may be repeated",
    )
    link: tuple[str, ...] = fields.setting(
        (),
        "NAME=A / B or NAME=A * B: a flag's value from others, as "
        "weight_decay=0.1 / epochs; A and B are numbers, searched names, flags "
        "that are numbers, or optimizer_factor, 1000 of adamw where it is 1 of "
        "adams; NAME=0.4E,0.8E: shares of the epochs; may be repeated",
    )
    objective: str | None = fields.setting(
        None, "column of metrics.csv that is best; default: one of validation"
    )
    select_on: str = fields.setting(
        "final",
        "the epoch of a run whose objective counts",
        choices=("final", "best"),
    )
    trials_per_cell: int = fields.setting(
        1,
        "runs of a cell, with --seed, --seed + 1 and so on; their mean counts",
        at_least=1,
        at_most=1000,
    )
    max_trials: int | None = fields.setting(
        None,
        f"cells that are drawn; default: {DEFAULT_MAX_TRIALS}",
        at_least=1,
        needs=f"--tuner={' or '.join(_DRAWING)}",
    )
    prune: str = fields.setting(
        "none",
        "stop runs early that are worse than the median of the others, or, by "
        "halving, that are not among the best third after 1, 3, 9, ... epochs",
        choices=("none", "median", "halving"),
        needs="a --tuner that is not hyperband",
    )
    retrain: bool = fields.setting(
        True,
        "train the best cell again, on the validation data too, and test it",
    )
    keep_trials: str = fields.setting(
        "results",
        "what is kept of a finished run: its results, or its checkpoints and "
        "its model too",
        choices=("results", "all"),
    )
    dry_run: bool = fields.setting(
        False, "print the cells and what they will take, by a few timed steps"
    )

    def __post_init__(self):
        rules.check_fields(self)
        if self.max_trials is not None and self.tuner not in _DRAWING:
            why = {
                "grid": "which has as many as cells",
                "hyperband": "whose epochs decide it",
            }
            rules.refuse(
                "max_trials",
                f"must not be given for --tuner={self.tuner}, "
                f"{why[self.tuner]}",
                self.max_trials,
            )
        if self.prune != "none" and self.tuner == "hyperband":
            rules.refuse(
                "prune",
                "must be none for --tuner=hyperband, which stops runs early "
                "itself",
                self.prune,
            )

    @property
    def trials(self):
        """How many cells are drawn, None where the tuner decides it."""
        if self.tuner not in _DRAWING:
            return None
        return self.max_trials or DEFAULT_MAX_TRIALS
