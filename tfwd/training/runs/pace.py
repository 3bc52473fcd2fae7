"""How long an epoch takes, and when the run will end."""

import datetime
import time


class Pace:
    """Times the first epoch of a process, without the compilation."""

    def __init__(self):
        self._start = time.perf_counter()
        self._seconds = None
        self._is_told = False

    def begin(self):
        """An epoch begins."""
        self._start = time.perf_counter()

    def trained(self, progress):
        """The steps of an epoch are done, its evaluation begins."""
        now = time.perf_counter()
        self._seconds, self._start = now - self._start, now
        if progress.timed_examples:
            per_example = progress.timed_seconds / progress.timed_examples
            self._seconds = per_example * progress.examples

    def finished(self, epochs):
        """Returns the line to print at the end of an epoch, or None.

        Args:
            epochs: Those that are left.
        """
        if self._is_told or not epochs:
            return None
        self._is_told = True
        seconds = self._seconds + time.perf_counter() - self._start
        return text(seconds, epochs, datetime.datetime.now())


def text(seconds, epochs, now):
    """Says when a run will end.

    Args:
        seconds: Of an epoch, with its evaluation.
        epochs: Those that are left.
        now: A `datetime.datetime`.

    Returns:
        A line of text.
    """
    left = seconds * epochs
    end = now + datetime.timedelta(seconds=left)
    # A time of the day says nothing of another day.
    clock = "%H:%M" if end.date() == now.date() else "%Y-%m-%d %H:%M"
    rest = "last one ends" if epochs == 1 else f"{epochs:,} left end"
    return (
        f"An epoch takes about {duration(seconds)}; the {rest} in about "
        f"{duration(left)}, {end.strftime(clock)}"
    )


def duration(seconds):
    """Returns seconds as text in a unit that suits them: `3 min`."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes / 60:.1f} h"
