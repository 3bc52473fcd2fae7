"""What a search makes best: a column of metrics.csv and its direction."""

import dataclasses
import math

from tfwd.training.config import choices
from tfwd.training.config import columns
from tfwd.training.config import rules

SELECT_ON = ("final", "best")
# Time, and what is set or follows from λ alone: no direction of it is better.
_NO_MEASURES = (
    *("step", "epoch", "elapsed_seconds", "learning_rate"),
    *("effective_weight_decay", "penalty", "weight_norm"),
)
# Data sets whose classes are so many that the best five answers are counted.
_MANY_CLASSES = ("cifar100", "imagenet2012")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A column of metrics.csv, and whether more of it is better."""

    name: str
    maximize: bool

    def cost(self, value):
        """Returns what is lower where `value` is better; of NaN infinity."""
        if math.isnan(value):
            return math.inf
        return -value if self.maximize else value


def of(settings, name=None):
    """Returns the `Objective` of a search.

    Accuracies and examples per second are maximized, losses and perplexities
    minimized.

    Args:
        settings: `Settings` that the search starts from.
        name: A column of metrics.csv; by default validation_accuracy, of a
            language model validation_perplexity.

    Raises:
        ValueError: There is no such measure, or there are no validation
            examples for it. One line.
    """
    is_text = choices.task(settings.model.model) == "language_model"
    allowed = names(settings)
    if name is None:
        name = f"validation_{'perplexity' if is_text else 'accuracy'}"
    elif name not in allowed:
        rules.refuse("objective", f"must be one of {', '.join(allowed)}", name)
    has_split = (
        settings.data.dataset in choices.TEXTS or settings.data.num_validation
    )
    if name.startswith("validation_") and not has_split:
        rules.refuse(
            "num_validation",
            f"must be above 0, as the objective is {name}; one of the test "
            "data must be named, such as --objective="
            f"{name.replace('validation', 'test')}",
            settings.data.num_validation,
        )
    return Objective(name, name.endswith(("_accuracy", "_per_second")))


def names(settings):
    """Returns the columns that may be an objective of these settings."""
    task = choices.task(settings.model.model)
    counts_top_5 = task == "classification" and (
        settings.data.dataset in _MANY_CLASSES
    )
    return tuple(
        name
        for name in columns.of_epochs(task, counts_top_5)
        if name not in _NO_MEASURES
    )


def value(rows, objective, select_on="final"):
    """Returns the objective of a run and the epoch that has it.

    Args:
        rows: Of its metrics.csv, as `tfwd.training.runs.logs.read` gives them.
        objective: An `Objective`.
        select_on: "final" for the last epoch, "best" for the best one, of
            equal ones the first.

    Returns:
        (value, epoch): a float, not finite if the measure was not, and an int.

    Raises:
        ValueError: There is no row, or the column is missing or empty.
    """
    found = [row for row in rows if row.get(objective.name) is not None]
    if not found or (select_on == "final" and found[-1] is not rows[-1]):
        raise ValueError(
            f"`rows` must have the column {objective.name} in every epoch. "
            f"Received: {len(found)} of {len(rows)} rows with it"
        )
    row = found[-1]
    if select_on == "best":
        row = min(found, key=lambda row: objective.cost(row[objective.name]))
    return float(row[objective.name]), int(row["epoch"])


def remark(objective):
    """Returns one line on an objective of the test data, empty for others."""
    if not objective.name.startswith("test_"):
        return ""
    return (
        f"The choice is made by {objective.name}: that of the chosen cell is "
        "optimistic, since the test data has chosen it (the maps in the papers "
        "are of the test error too)"
    )
