"""The versions of Keras that were tried, and a warning with any other."""

import warnings

# Minor releases; `launch/test.sh --keras=VERSION` tries one.
OLDEST = (3, 10)
NEWEST = (3, 15)
RANGE = " to ".join(".".join(map(str, each)) for each in (OLDEST, NEWEST))


def is_tried(version):
    """Returns whether a version of Keras, such as "3.15.1", was tried."""
    minor = tuple(int(part) for part in version.split(".")[:2])
    return OLDEST <= minor <= NEWEST


def warn_if_untried(version):
    """Warns in one line if a version of Keras was not tried."""
    if not is_tried(version):
        warnings.warn(
            f"tfwd was tried with Keras {RANGE}, whose private hooks it uses. "
            f"Received: Keras {version}",
            stacklevel=2,
        )
