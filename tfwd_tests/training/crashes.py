"""Runs that crash at one of their writes."""

import numpy as np

from tfwd_tests.training import runs


class Crash(Exception):
    """What ends a process at once."""


def crashing_after(function, count, condition=lambda *arguments: True):
    """A function that crashes when it has done what is asked for `count` times.

    Args:
        function: What does it.
        count: Which of the calls ends with a crash, from 1.
        condition: Of its arguments, which calls are counted.
    """
    calls = []

    def crashing(*arguments, **keywords):
        result = function(*arguments, **keywords)
        if condition(*arguments):
            calls.append(arguments)
            if len(calls) == count:
                raise Crash
        return result

    return crashing


def assert_same(folder, whole):
    """Asserts that two runs have the same rows and the same models."""
    assert runs.rows(folder) == runs.rows(whole)
    for file in ("final.keras", "best.keras"):
        expected, found = runs.weights(whole, file), runs.weights(folder, file)
        assert found.keys() == expected.keys()
        for path, array in expected.items():
            np.testing.assert_array_equal(found[path], array, err_msg=path)
