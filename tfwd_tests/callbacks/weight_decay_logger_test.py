"""The logs of `fit` tell how fast weights decay, to every callback."""

import csv

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.optimizers import networks

KEYS = [
    "averaging_time",
    "averaging_time_in_epochs",
    "effective_weight_decay",
    "skipped_steps",
    "weight_decay",
]


def history(optimizer, epochs=2, y=0.0, before=(), after=(), jit="auto"):
    """Returns the history of epochs of four steps."""
    model = networks.linear_model(optimizer, jit, use_bias=True)
    return model.fit(
        np.ones((8, 2), "float32"),
        np.full((8, 1), y, "float32"),
        batch_size=2,
        epochs=epochs,
        verbose=0,
        callbacks=[*before, tfwd.WeightDecayLogger(), *after],
    ).history


def halving(value, after):
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [after], [value, value / 2]
    )


@pytest.mark.parametrize("jit", [False, True])
def test_the_logs_are_those_of_the_last_step_of_the_epoch(jit):
    # Both halve between the epochs: steps 0 to 3, then 4 to 7.
    optimizer = tfwd.SGDS(halving(0.25, 3), halving(0.5, 3), momentum=0.75)
    logs = history(optimizer, jit=jit)
    assert logs["weight_decay"] == [0.5, 0.25]
    assert logs["effective_weight_decay"] == [2.0, 1.0]
    assert logs["averaging_time"] == [1 / 0.5, 1 / 0.125]
    assert logs["averaging_time_in_epochs"] == [0.5, 2.0]
    assert logs["skipped_steps"] == [0, 0]


def test_without_eta_the_time_is_that_of_the_coefficient():
    optimizer = tfwd.SGD(0.25, 0.125, weight_decay_mode="independent")
    assert history(optimizer)["averaging_time"] == [8.0, 8.0]


def test_without_decay_the_time_is_infinite():
    assert history(tfwd.AdamW(1e-3))["averaging_time"] == [np.inf, np.inf]


@pytest.mark.parametrize("mode", ["l2", "elementwise"])
def test_modes_without_such_a_time_have_no_such_key(mode):
    logs = history(tfwd.Adam(1e-3, 0.5, weight_decay_mode=mode))
    assert set(KEYS) & set(logs) == set(KEYS[2:])


def test_a_csv_logger_behind_it_has_the_columns_and_one_before_it_not(tmp_path):
    early, late = (
        keras.callbacks.CSVLogger(tmp_path / name) for name in ("0", "1")
    )
    logs = history(tfwd.AdamS(1e-3, 0.5), before=[early], after=[late])
    with (tmp_path / "1").open() as file:
        rows = list(csv.DictReader(file))
    for key in KEYS:
        assert [float(row[key]) for row in rows] == pytest.approx(logs[key])
    header = (tmp_path / "0").read_text().splitlines()[0]
    assert not set(KEYS) & set(header.split(","))


def test_skipped_steps_are_counted():
    optimizer = tfwd.SGDW(halving(-0.5, 3), 0.5)
    with pytest.warns(UserWarning, match="skipped 8 steps"):
        logs = history(optimizer)
    assert logs["skipped_steps"] == [4, 8]
    assert logs["averaging_time"] == [np.inf, np.inf]


def test_within_loss_scaling_the_optimizer_inside_is_told():
    inner = tfwd.SGDW(0.25, 0.5, momentum=0.0)
    logs = history(keras.optimizers.LossScaleOptimizer(inner))
    assert logs["averaging_time"] == [8.0, 8.0]


def group(*optimizers):
    first, second = optimizers
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(first, {".*/kernel": second})
    )


def test_several_optimizers_are_told_apart_by_name():
    slow = tfwd.SGDW(0.25, 0.5, name="slow")
    logs = history(group(slow, tfwd.SGDW(0.5, 0.5, name="fast")))
    assert logs["averaging_time_slow"] == [8.0, 8.0]
    assert logs["averaging_time_fast"] == [4.0, 4.0]
    assert "averaging_time" not in logs


def test_several_of_one_name_by_number():
    logs = history(group(*(tfwd.SGDW(0.5, 0.5, name="a") for _ in "12")))
    assert {"weight_decay_a_0", "weight_decay_a_1"} <= set(logs)


def test_another_library_s_optimizer_adds_nothing():
    logs = history(keras.optimizers.SGD(0.1, weight_decay=0.5))
    assert set(logs) == {"loss"}


def test_an_epoch_is_as_many_steps_as_the_optimizer_took():
    optimizer = tfwd.SGDW(0.25, 0.5, gradient_accumulation_steps=2)
    assert history(optimizer)["averaging_time_in_epochs"] == [4.0, 4.0]
