"""How far a run has come: what the host knows, and a checkpoint keeps."""

import dataclasses
import json
import types

from tfwd.training.config import rules


@dataclasses.dataclass
class Progress:
    """The counters and sums of a run, all of them Python numbers.

    Attributes:
        epoch: Finished epochs.
        step: Training steps since the start of the run.
        step_in_epoch: Steps of the running epoch.
        loss: Sum of the losses of the running epoch's examples.
        correct: How many of them were classified correctly.
        examples: How many they are.
        elapsed_seconds: Time of the run, without that between interruptions.
        timed_seconds: The part of the running epoch that counts for its speed.
        timed_examples: The examples of that part.
        best: The best value so far of what best.keras is chosen by.
        best_epoch: The epoch of `best`.
        rows: Rows of metrics.csv.
        step_rows: Rows of steps.csv.
        logged_loss: Sum of the losses since the last of these rows.
        logged_correct: How many examples were classified correctly since then.
        logged_examples: How many they are.
        overshot: Whether the overshooting of a step was reported.
        restores: How often a loss that is not finite led to a restore, each of
            which halves the learning rate.
    """

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    loss: float = 0.0
    correct: float = 0.0
    examples: float = 0.0
    elapsed_seconds: float = 0.0
    timed_seconds: float = 0.0
    timed_examples: float = 0.0
    best: float | None = None
    best_epoch: int | None = None
    rows: int = 0
    step_rows: int = 0
    logged_loss: float = 0.0
    logged_correct: float = 0.0
    logged_examples: float = 0.0
    overshot: bool = False
    restores: int = 0

    def advance(self, done):
        """Adds a `loop.Advance`."""
        self.step += done.steps
        self.step_in_epoch += done.steps
        self.loss += done.loss
        self.correct += done.correct
        self.examples += done.predictions
        self.logged_loss += done.loss
        self.logged_correct += done.correct
        self.logged_examples += done.predictions
        if done.seconds is not None:
            self.timed_seconds += done.seconds
            self.timed_examples += done.predictions

    def finish_step_row(self):
        """Begins the sums of the next row of steps.csv."""
        self.step_rows += 1
        self.logged_loss = self.logged_correct = self.logged_examples = 0.0

    def finish_epoch(self, value, more_is_better):
        """Ends an epoch that has a row, and starts the next.

        Args:
            value: What the best model is chosen by, after this epoch.
            more_is_better: Whether a larger value is better.
        """
        self.epoch += 1
        self.rows += 1
        self.step_in_epoch = 0
        self.loss = self.correct = self.examples = 0.0
        self.timed_seconds = self.timed_examples = 0.0
        sign = 1 if more_is_better else -1
        if self.best is None or sign * value > sign * self.best:
            self.best, self.best_epoch = value, self.epoch

    def to_json(self):
        """The fields as JSON, floats with all their digits."""
        return json.dumps(
            {
                field.name: _number(field, getattr(self, field.name))
                for field in dataclasses.fields(self)
            }
        )

    @classmethod
    def from_json(cls, text):
        """The inverse of `to_json`.

        A field that an earlier version did not have has its default.

        Raises:
            ValueError: A field is unknown, as those of a later version are, or
                of another type.
        """
        values = json.loads(text)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(values.keys() - fields.keys())
        if unknown:
            raise ValueError(
                "The progress in a checkpoint must have no fields that this "
                f"version of tfwd does not know. Received: {unknown}"
            )
        for name, value in values.items():
            if not _fits(fields[name], value):
                raise ValueError(
                    f"`{name}` must be {fields[name].type} in the progress of "
                    f"a checkpoint. Received: {name}={value!r}"
                )
        return cls(**{n: _number(fields[n], v) for n, v in values.items()})


def _number(field, value):
    # A sum may be a NumPy scalar, which JSON does not know.
    return value if value is None else rules.kind_of(field)(value)


def _fits(field, value):
    if value is None:
        return isinstance(field.type, types.UnionType)
    kind = rules.kind_of(field)
    return type(value) is kind or (kind is float and type(value) is int)
