"""How long an epoch takes, and when the run will end."""

import datetime


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
    return (
        f"An epoch takes about {_duration(seconds)}; the {epochs:,} left end "
        f"in about {_duration(left)}, {end.strftime(clock)}"
    )


def _duration(seconds):
    if seconds < 100:
        return f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes / 60:.1f} h"
