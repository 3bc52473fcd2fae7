"""Modules that come with an extra of pyproject.toml, or one line without."""

import importlib.util
import sys

_OF_TRAINING = (
    "absl",
    "matplotlib",
    "psutil",
    "sklearn",
    "tensorboard",
    "tensorflow",
    "tensorflow_datasets",
)
# Modules that come with each extra.
MODULES = {
    "plot": ("matplotlib",),
    "train": _OF_TRAINING,
    "tune": ("keras_tuner", *_OF_TRAINING),
}


def require(user, extra, *modules):
    """Looks for modules of an extra, without importing them.

    Args:
        user: What needs them, for the message.
        extra: A key of `MODULES`.
        *modules: Some of its modules; all of them by default.

    Raises:
        ImportError: One is not there; the message names the extra.
    """
    missing = [
        name
        for name in modules or MODULES[extra]
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ImportError(
            f"{user} must have the extra `{extra}` installed, as by `pip "
            f"install .[{extra}]` in a checkout. Received: no module "
            f"{', '.join(missing)}"
        )


def require_or_exit(user, extra):
    """Ends the program with code 2 after one line where `require` raises."""
    try:
        require(user, extra)
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
