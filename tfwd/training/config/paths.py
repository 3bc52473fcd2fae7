"""Paths that flags hold."""

import pathlib

from tfwd.training.config import rules


def expanded(name, text, kind="a path"):
    """The path of a flag, which is one that the system can look up.

    Args:
        name: The flag's.
        text: Its value, which may begin with ~.
        kind: What it must be.

    Returns:
        A `pathlib.Path`, of which there need be nothing yet.

    Raises:
        UsageError: It is too long, or there is no such user.
    """
    try:
        path = pathlib.Path(text).expanduser()
        path.exists()
    # RuntimeError: ~ of a user that there is not.
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        rules.refuse(name, f"must be {kind} ({reason})", text)
    return path
