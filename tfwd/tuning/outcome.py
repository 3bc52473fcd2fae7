"""What came of a run of a search."""

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of one run, that of a trial with a seed.

    Attributes:
        status: "completed", "diverged", "failed" or "pruned".
        objective: None unless completed; of a pruned run that of its last
            epoch.
        last_epoch: How many epochs it finished.
        best_epoch: The epoch of the best objective, None without one.
        seconds: How long it took.
        reason: One line, empty when completed.
    """

    status: str
    objective: float | None
    last_epoch: int
    best_epoch: int | None
    seconds: float
    reason: str = ""

    def to_json(self):
        """Returns it as text, which `from_json` reads back."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def from_json(text):
    """Returns the `Outcome` of a text that `to_json` made."""
    return Outcome(**json.loads(text))
