"""What a process is in a search."""

import pytest

from tfwd.training.config import usage
from tfwd.tuning.engine import roles

_NAMES = (
    "KERASTUNER_ORACLE_IP",
    "KERASTUNER_ORACLE_PORT",
    "KERASTUNER_TUNER_ID",
)


def _set(monkeypatch, *values):
    for name, value in zip(_NAMES, values, strict=True):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("tuner_id", "role"),
    [
        ("chief", roles.CHIEF),
        ("my-chief-0", roles.CHIEF),
        ("tuner0", roles.WORKER),
    ],
)
def test_the_id_tells_the_role(monkeypatch, tuner_id, role):
    _set(monkeypatch, "127.0.0.1", "8000", tuner_id)
    assert roles.of_environment() == role


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variables_it_is_alone(monkeypatch, value):
    _set(monkeypatch, value, value, value)
    assert roles.of_environment() == roles.SINGLE


@pytest.mark.parametrize("missing", range(3))
def test_a_variable_that_is_missing_is_named(monkeypatch, missing):
    values = ["127.0.0.1", "8000", "chief"]
    values[missing] = None
    _set(monkeypatch, *values)
    with pytest.raises(usage.UsageError, match=f"`{_NAMES[missing]}` must"):
        roles.of_environment()
