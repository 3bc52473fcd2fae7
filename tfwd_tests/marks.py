"""Marks of single cases of a test, so that each is marked by its name."""

import pytest


def many(*cases):
    """Returns cases that off TensorFlow run under `--full` alone.

    Args:
        cases: The values of a parameter, or tuples of those of several.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=pytest.mark.many,
        )
        for case in cases
    ]
