"""Which errors are the user's: what this package's own `raise` refuses."""

import numpy as np
import pytest

from tfwd import arguments
from tfwd.training.config import rules
from tfwd.training.config import usage

# A module of the package, with a refusal and with faults in it.
SOURCE = """
import numpy

def refuse(): raise ValueError("`a` must be b. Received: a=c")
def refuse_from():
    try:
        int("a")
    except ValueError as error:
        raise ValueError("`a` must be a number") from error
def passes_on():
    try:
        int("a")
    except ValueError:
        raise
def converts(): return float("a")
def pairs(): return list(zip([1], [1, 2], strict=True))
def unpacks(): a, b = [1]; return a, b
def calls(): return numpy.reshape([1, 2, 3], (2, 2))
"""


def module(name):
    names = {"__name__": name}
    exec(compile(SOURCE, "module.py", "exec"), names)
    return names


@pytest.mark.parametrize("name", ["refuse", "refuse_from"])
def test_refusal_of_this_package_is_the_users(name):
    with pytest.raises(usage.UsageError, match="`a` must be"):
        with usage.refusals():
            module("tfwd.some")[name]()


@pytest.mark.parametrize(
    "name", ["passes_on", "converts", "pairs", "unpacks", "calls"]
)
def test_fault_in_this_package_is_none_of_the_users(name):
    with pytest.raises(ValueError) as caught:
        with usage.refusals():
            module("tfwd.some")[name]()
    assert type(caught.value) is ValueError


@pytest.mark.parametrize("name", ["tfwdx.some", "numpy", "__main__"])
def test_raise_of_another_package_is_none_of_the_users(name):
    with pytest.raises(ValueError) as caught:
        with usage.refusals():
            module(name)["refuse"]()
    assert type(caught.value) is ValueError


@pytest.mark.parametrize(
    "error", [TypeError("a"), KeyError("a"), np.linalg.LinAlgError("a")]
)
def test_errors_of_other_classes_pass(error):
    with pytest.raises(type(error)) as caught:
        with usage.refusals():
            raise error
    assert caught.value is error


def test_library_keeps_its_value_error_and_flags_have_their_own():
    with pytest.raises(ValueError) as caught:
        arguments.check_integer("every", 0, 1)
    assert type(caught.value) is ValueError
    with pytest.raises(usage.UsageError, match="`--a` must be b"):
        rules.refuse("a", "must be b", "c")
