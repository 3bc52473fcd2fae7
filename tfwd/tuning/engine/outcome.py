"""What came of one run of a search, as trial_X/seed_K.json holds it."""

import dataclasses
import json
import math

COMPLETED = "completed"
DIVERGED = "diverged"
FAILED = "failed"
PRUNED = "pruned"
STATUSES = (COMPLETED, DIVERGED, FAILED, PRUNED)

_KINDS = {
    "status": str,
    "objective": float | int | None,
    "last_epoch": int,
    "best_epoch": int | None,
    "seconds": float | int,
    "reason": str,
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one run, of a trial with a seed.

    Attributes:
        status: One of `STATUSES`.
        objective: The value by which trials are compared, finite; None unless
            the run was completed, or pruned: then that of its last epoch.
        last_epoch: Number of finished epochs.
        best_epoch: The epoch with the best objective, or None.
        seconds: How long the run took.
        reason: One line; empty when completed.

    Raises:
        ValueError: An attribute is none of these.
    """

    status: str
    objective: float | None
    last_epoch: int
    best_epoch: int | None
    seconds: float
    reason: str = ""

    def __post_init__(self):
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                self._refuse(name, "must be of its type")
        if self.status not in STATUSES:
            self._refuse("status", f"must be one of {', '.join(STATUSES)}")
        may_have = self.status in (COMPLETED, PRUNED)
        if self.objective is None:
            if self.status == COMPLETED:
                self._refuse("objective", "must be a number when completed")
        elif not may_have or not math.isfinite(self.objective):
            self._refuse(
                "objective", f"must be finite, and None when {self.status}"
            )
        for name in ("last_epoch", "best_epoch", "seconds"):
            value = getattr(self, name)
            # Also true of NaN.
            if value is not None and not 0 <= value < math.inf:
                self._refuse(name, "must be finite and not below 0")
        if (self.status == COMPLETED) != (self.reason == ""):
            self._refuse("reason", "must be empty when completed and only then")
        if len(self.reason.splitlines()) > 1:
            self._refuse("reason", "must be one line")

    def to_json(self):
        """Returns the text of a file, with all digits."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False) + "\n"

    def _refuse(self, name, rule):
        raise ValueError(
            f"`{name}` {rule}. Received: {name}={getattr(self, name)!r}, "
            f"status={self.status!r}"
        )


def from_json(text):
    """Returns the `Outcome` of which `to_json` made a text.

    Raises:
        ValueError: The text is of no outcome.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"`text` must be JSON ({error}). Received: text={text!r}"
        ) from error
    if not isinstance(values, dict) or values.keys() != _KINDS.keys():
        raise ValueError(
            f"`text` must hold {', '.join(_KINDS)}. Received: text={text!r}"
        )
    return Outcome(**values)


def failed(error, seconds=0.0):
    """Returns the `Outcome` of a run that raised an exception.

    The reason is the exception's type and what it says, in one line.
    """
    words = " ".join(str(error).split())
    name = type(error).__name__
    reason = f"{name}: {words}" if words else name
    return Outcome(FAILED, None, 0, None, seconds, reason)


def path_of(trial_folder, seed):
    """Returns where the outcome of a run stands, a `pathlib.Path`.

    Args:
        trial_folder: The `pathlib.Path` of the trial.
        seed: The run's seed.
    """
    return trial_folder / f"seed_{seed}.json"


def read(trial_folder, seed):
    """Returns the `Outcome` of a run, None where it has not ended.

    Raises:
        ValueError: The file holds no outcome; one line that names it.
    """
    path = path_of(trial_folder, seed)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return from_json(text)
    except ValueError as error:
        raise ValueError(f"{path} holds no outcome: {error}") from error
