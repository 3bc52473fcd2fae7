"""Counters of what failed while training went on, as optimizer variables."""

import warnings

from keras import ops

EVENTS = {
    "dropped_statistics": "statistics of a layer were not finite and dropped",
    "retried_inverses": "an inversion failed and was tried with more damping",
    "kept_inverses": "an inversion failed for good and the last one was kept",
    "skipped_steps": "a step without inverses or with a gradient that was not "
    "finite was skipped",
}


class Failures:
    """Counts failures inside compiled programs, and tells of them outside.

    Args:
        add_variable: The optimizer's method.
        skipped_steps: The optimizer's own variable of this name.

    Attributes:
        counters: {name: variable}, names as in `EVENTS`.
    """

    def __init__(self, add_variable, skipped_steps):
        self.counters = {
            name: add_variable((), dtype="int", name=name)
            for name in EVENTS
            if name != "skipped_steps"
        }
        self.counters["skipped_steps"] = skipped_steps
        self._warned = set()

    def add(self, event, flags):
        """Adds the number of true flags to a counter."""
        counter = self.counters[event]
        value = ops.convert_to_tensor(counter)
        number = ops.sum(ops.cast(flags, "int32"))
        counter.assign(value + ops.cast(number, value.dtype))

    def counts(self, values=None):
        """Returns {name: count}, ints.

        Args:
            values: {id of a variable: its value}, where variables hold none.
        """
        values = values or {}
        return {
            name: int(ops.convert_to_numpy(values.get(id(counter), counter)))
            for name, counter in self.counters.items()
        }

    def warn(self, owner, values=None):
        """Warns of each kind of failure, once.

        Args:
            owner: A name, for the message.
            values: As in `counts`.
        """
        for name, count in self.counts(values).items():
            if count and name not in self._warned:
                self._warned.add(name)
                warnings.warn(
                    f"{owner}: {EVENTS[name]} ({name}: {count}).", stacklevel=3
                )
