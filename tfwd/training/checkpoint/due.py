"""When a checkpoint is due."""

import re

from tfwd.training.config import rules


class Every:
    """When a checkpoint is due: `--checkpoint_every`.

    Args:
        text: "500" is 500 steps, "600s" is 600 seconds.
        step: Steps so far.
        now: Time in seconds, on any clock that does not jump.

    Raises:
        ValueError: It is neither.
    """

    def __init__(self, text, step=0, now=0.0):
        match = re.fullmatch(r"([1-9][0-9]*)(s?)", text)
        if match is None:
            rules.refuse(
                "checkpoint_every",
                "must be a number of steps (500) or of seconds (600s)",
                text,
            )
        count = int(match[1])
        self._steps, self._seconds = (
            (None, count) if match[2] else (count, None)
        )
        self.saved(step, now)

    def saved(self, step, now):
        """Notes that there is a checkpoint of `step`, due or not."""
        self._saved_step, self._saved_time = step, now

    def due(self, step, now):
        """Whether it is time: a multiple of the steps, or enough seconds."""
        if self._steps is None:
            return now - self._saved_time >= self._seconds
        return step // self._steps > self._saved_step // self._steps

    def limit(self, step):
        """Steps from `step` to the next that is due; `None` for seconds."""
        return self._steps and self._steps - step % self._steps
