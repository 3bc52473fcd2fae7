"""Any argument of any public name works, or is refused in one line.

The line begins with the argument's name in backticks.
"""

import datetime
import decimal
import fractions
import math
import re

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies

from tfwd_tests import public_api

ROWS = public_api.rows()
# An argument whose rule speaks of another one.
SPEAKS_OF = {
    "momentum": {"nesterov"},
    "dampening": {"nesterov"},
    "learning_rate": {"initial_learning_rate"},
    "initial_value": {"factor"},
    "clipvalue": {"clipnorm"},
    "global_clipnorm": {"clipnorm", "clipvalue"},
    "weight_decay": {"hessian", "eigenvalues"},
    "hessian": {"optimum"},
    "name": {"input_shape", "dropout", "hidden_layers"},
    "steps_per_epoch": {"epochs"},
}
WHOLE = [-1, 0, 1, 2, 3, 10**400, -(10**400), 10**5000]
LARGE = [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63]
NUMBERS = [
    *(0.0, -0.0, 0.5, 1.0, 1.5, -0.5, 1e39, 1e-39, 1e-50, 5e-324),
    *(math.inf, -math.inf, math.nan, 1j, decimal.Decimal("0.5")),
    *(fractions.Fraction(1, 2), fractions.Fraction(10**400)),
    *(np.float16(0.5), np.float32(0.5), np.float64(0.5), np.float64("nan")),
    *(np.int64(2), np.uint8(2), np.array(0.5), np.array(2)),
    *(np.timedelta64(2), np.datetime64("2020-01-01")),
]
OTHERS = [
    *(None, True, False, np.True_, "", "x", "false", "0.5", "a\nb", b"x"),
    *((), (1,), [], [0.5], ["x"], {}, {"x": 1}, {1}, range(2), slice(1)),
    *(np.array([1, 2]), np.array(["l2", "x"]), np.zeros((2, 0)), np.eye(3)),
    *(object(), object, len, ..., datetime.date(2020, 1, 1)),
    *("l2", "stable", "fisher", "mlp", "all", "logits", "keep"),
    keras.optimizers.schedules.CosineDecay(0.5, 10),
]


def one_of(values):
    # By their number: some have neither a hash nor a text.
    return strategies.integers(0, len(values) - 1).map(values.__getitem__)


CHEAP = one_of(WHOLE + NUMBERS + OTHERS)
ANY = (
    CHEAP
    | one_of(LARGE)
    | strategies.floats()
    | strategies.integers()
    | strategies.text(max_size=5)
)


def settings(examples):
    return hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def check(path, replaced):
    """Calls a public name with some arguments replaced."""
    row = ROWS[path]
    replaced = {n: v for n, v in replaced.items() if not is_for_keras(n, v)}
    try:
        result = row.function(**(row.good | replaced))
        row.check(result)
    except (TypeError, ValueError) as error:
        message = str(error)
        named = re.match(r"`(\w+)", message)
        allowed = set(replaced).union(*(SPEAKS_OF.get(n, ()) for n in replaced))
        assert named and named.group(1) in allowed, message
        assert "Received: " in message and "\n" not in message
        assert len(message) < 1000


def is_for_keras(name, value):
    """Tells whether what is wrong is for the model's own layers to say."""
    is_data = name in ("data", "train_data", "test_data")
    return is_data and isinstance(value, (list, set, range, np.ndarray))


def drawn(data, path):
    row = ROWS[path]
    names = sorted(set(row.good) - row.as_they_are)
    if not names:
        return {}
    values = CHEAP if row.is_costly else ANY
    return data.draw(
        strategies.dictionaries(
            strategies.sampled_from(names), values, min_size=1, max_size=2
        )
    )


def search(path, examples):
    @settings(examples)
    @hypothesis.given(strategies.data())
    def run(data):
        check(path, drawn(data, path))

    run()


@pytest.mark.parametrize("path", sorted(ROWS))
def test_an_argument_works_or_is_refused_by_its_name(path):
    search(path, 6 if ROWS[path].is_costly else 25)


@pytest.mark.many
@pytest.mark.parametrize("path", sorted(ROWS))
def test_a_longer_search_finds_nothing_either(path):
    search(path, 20 if ROWS[path].is_costly else 300)


@pytest.mark.full
@pytest.mark.parametrize("path", sorted(ROWS))
def test_every_odd_value_works_or_is_refused_by_its_name(path):
    row = ROWS[path]
    values = WHOLE + NUMBERS + OTHERS + ([] if row.is_costly else LARGE)
    for name in set(row.good) - row.as_they_are:
        for value in values:
            check(path, {name: value})


def test_every_public_name_has_a_row():
    missing = public_api.names() - public_api.NOT_CALLED_WITH_ARGUMENTS
    missing -= public_api.NOT_CALLED_OF_TUNING
    assert missing - set(ROWS) == set()
    assert public_api.NOT_CALLED_WITH_ARGUMENTS <= public_api.names()
    assert {"SGD", "KFAC", "models.build"} <= set(ROWS)
    if public_api.HAS_SEARCH:
        assert public_api.NOT_CALLED_OF_TUNING <= public_api.names()
        assert {"tuning.optimizer", "tuning.maps.findings"} <= set(ROWS)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.many if row.is_costly else ())
        for path, row in sorted(ROWS.items())
    ],
)
def test_the_arguments_of_a_row_are_all_and_work(path):
    row = ROWS[path]
    assert set(public_api.defaults(row.function)) <= set(row.good)
    row.check(row.function(**row.good))
