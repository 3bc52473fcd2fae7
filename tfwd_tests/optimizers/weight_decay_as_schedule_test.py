"""λ itself may be a schedule, as η may."""

import json

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import networks
from tfwd_tests.optimizers import table

STEPS = 12


def halving(after=5):
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [after], [0.02, 0.01]
    )


@pytest.mark.parametrize(
    "case", table.abridged(table.DEFAULT_CASES), ids=table.case_id
)
def test_it_is_the_coefficient_times_a_schedule_of_its_multiples(case):
    row, mode = case
    theta, gradients = harness.random_problem(STEPS)
    multiples = keras.optimizers.schedules.PiecewiseConstantDecay(
        [5], [1.0, 0.5]
    )
    given, multiplied = (
        harness.apply_all(
            row.cls(
                row.learning_rate,
                weight_decay=value,
                weight_decay_mode=mode,
                weight_decay_schedule=schedule,
                **row.constants,
            ),
            harness.make_variables(theta),
            gradients,
        )
        for value, schedule in ((halving(), None), (0.02, multiples))
    )
    assert harness.relative_error(given, multiplied) <= 1e-7


def test_it_reads_as_the_value_of_the_step_to_come():
    optimizer = tfwd.SGDW(0.5, halving(after=0), momentum=0.0)
    model = networks.linear_model(optimizer)
    read = [networks.number(optimizer.weight_decay)]
    for _ in range(2):
        model.train_on_batch(np.zeros((1, 2)), np.zeros((1, 1)))
        read.append(networks.number(optimizer.weight_decay))
    np.testing.assert_allclose(read, [0.02, 0.01, 0.01], rtol=1e-6)


def test_it_cannot_be_set():
    optimizer = tfwd.AdamS(1e-3, halving())
    with pytest.raises(TypeError, match=r"^`weight_decay` must not .*=0.5$"):
        optimizer.weight_decay = 0.5


def test_it_is_refused_beside_a_schedule_of_its_multiples():
    with pytest.raises(ValueError, match="^`weight_decay_schedule` must be No"):
        tfwd.AdamS(1e-3, halving(), weight_decay_schedule=halving())


@pytest.mark.parametrize("cls", [tfwd.AdamS, tfwd.KFAC])
def test_its_config_makes_the_same_optimizer(cls):
    optimizer = cls(1e-3, halving())
    config = json.loads(json.dumps(keras.optimizers.serialize(optimizer)))
    again = keras.optimizers.deserialize(config)
    assert again.get_config() == optimizer.get_config()
    value = networks.number(again.scheduled_weight_decay(9))
    assert value == pytest.approx(0.01)


def test_a_saved_model_continues_on_its_schedule(tmp_path):
    model = networks.linear_model(
        tfwd.SGDW(0.5, halving(after=2), momentum=0.5)
    )
    model.compile(model.optimizer, "mse")
    x, y = np.ones((4, 2)), np.zeros((4, 1))
    model.fit(x, y, batch_size=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit(x, y, batch_size=2, verbose=0)
        effective = networks.number(one.optimizer.effective_weight_decay)
        assert effective == pytest.approx(0.01)
    np.testing.assert_array_equal(model.get_weights(), loaded.get_weights())


def test_the_summary_names_it():
    optimizer = tfwd.AdamS(1e-3, halving())
    optimizer.build(networks.small_variables())
    lines = []
    optimizer.weight_decay_summary(lines.append)
    head, schedule, *_ = lines[0].splitlines()
    assert "coefficient 0.02," in head
    assert schedule == "Schedule of the coefficient: PiecewiseConstantDecay"
