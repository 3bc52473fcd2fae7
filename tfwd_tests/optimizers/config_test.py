"""A config holds everything that an optimizer was told."""

import json

import keras
import pytest

from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import table


def configured(row, mode):
    rate, factor, _, _ = table.schedules(row.learning_rate, steps=0)
    return row.cls(
        rate,
        weight_decay=0.02,
        weight_decay_mode=mode,
        weight_decay_schedule=factor,
        weight_decay_multipliers={"^embeddings$": 0.5},
        learning_rate_multipliers={"^kernel$": 0.25},
        exclude_from_weight_decay=["^bias$"],
        clipnorm=3.0,
        name="configured",
        **row.constants,
    )


def reloaded(optimizer):
    saved = json.dumps(keras.optimizers.serialize(optimizer))
    return keras.optimizers.deserialize(json.loads(saved))


@pytest.mark.parametrize("case", table.CASES, ids=table.case_id)
def test_the_config_round_trip_keeps_everything_built_or_not(case):
    optimizer = configured(*case)
    config = optimizer.get_config()
    assert config["weight_decay"] == pytest.approx(0.02)
    for name, value in case[0].constants.items():
        assert config[name] == value
    assert reloaded(optimizer).get_config() == config

    theta, _ = harness.random_problem(0)
    optimizer.build(harness.make_variables(theta))
    config = optimizer.get_config()
    again = reloaded(optimizer)
    again.build(harness.make_variables(theta))
    assert again.get_config() == config
    assert again.weight_decay_factors == (1.0, 0.0, 0.5)
    assert again.learning_rate_factors == (0.25, 1.0, 1.0)


def test_a_loaded_selection_is_in_the_config_before_the_next_build():
    theta, _ = harness.random_problem(0)
    optimizer = configured(table.ROWS[0], "l2")
    optimizer.build(harness.make_variables(theta))
    assert reloaded(optimizer).get_config() == optimizer.get_config()


def test_reading_a_config_leaves_it_as_it_was():
    theta, _ = harness.random_problem(0)
    optimizer = configured(table.ROWS[0], "l2")
    optimizer.build(harness.make_variables(theta))
    config = optimizer.get_config()
    before = json.dumps(config)
    again = type(optimizer).from_config(config)
    again.build(harness.make_variables(theta))
    assert json.dumps(config) == before
    assert json.dumps(again.get_config()) == before
