"""What the decay does to each variable, as rows of numbers.

Covers `decay_report`.
"""

import math

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import networks


def after_steps(optimizer, steps=3):
    variables = networks.small_variables()
    gradients = [[np.ones((4, 3)), np.ones(3)]] * steps
    harness.apply_all(optimizer, variables, gradients)
    return optimizer.weight_decay_report()


def test_a_row_has_path_shape_factors_rate_and_time():
    optimizer = tfwd.SGDS(
        # The last step's η, not that of the step to come.
        keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.25]),
        0.25,
        momentum=0.75,
        learning_rate_multipliers={"kernel": 0.5},
        weight_decay_multipliers={"kernel": 0.25},
        exclude_from_weight_decay="@bias",
    )
    # ηsλ = 0.5 · 4 · 0.25
    assert after_steps(optimizer) == [
        {
            "variable": "head/kernel",
            "shape": (4, 3),
            "weight_decay_factor": 0.25,
            "learning_rate_factor": 0.5,
            "decay_rate": 0.0625,
            "averaging_time": 16.0,
        },
        {
            "variable": "head/bias",
            "shape": (3,),
            "weight_decay_factor": 0.0,
            "learning_rate_factor": 1.0,
            "decay_rate": 0.0,
            "averaging_time": math.inf,
        },
    ]


def test_the_rate_is_what_the_decay_took_of_the_weights():
    optimizer = tfwd.AdamS(0.125, 0.5)
    variable = keras.Variable(np.full(3, 2.0, "float32"))
    silent = keras.ops.zeros((3,))
    optimizer.apply([silent + 0.25], [variable])
    optimizer.momentums[0].assign(silent)
    before = keras.ops.convert_to_numpy(variable)
    optimizer.apply([silent], [variable])
    taken = 1 - keras.ops.convert_to_numpy(variable) / before
    (row,) = optimizer.weight_decay_report()
    np.testing.assert_allclose(row["decay_rate"], taken, rtol=1e-5)
    assert row["averaging_time"] == 1 / row["decay_rate"]


def test_a_rate_is_one_at_most():
    rows = after_steps(tfwd.SGDW(1.0, 8.0))
    assert [row["decay_rate"] for row in rows] == [1.0, 1.0]


@pytest.mark.parametrize("mode", ["l2", "elementwise"])
def test_modes_without_such_a_rate_have_none(mode):
    for row in after_steps(tfwd.Adam(0.1, 0.5, weight_decay_mode=mode)):
        assert row["decay_rate"] is row["averaging_time"] is None


def test_without_eta_the_rate_is_the_coefficient():
    optimizer = tfwd.SGD(0.5, 0.125, weight_decay_mode="independent")
    assert [row["decay_rate"] for row in after_steps(optimizer)] == [0.125] * 2


def test_before_the_first_step_nothing_is_known_and_before_build_refused():
    optimizer = tfwd.SGDW(0.5, 0.5)
    with pytest.raises(ValueError, match="^`weight_decay_report.* built=False"):
        optimizer.weight_decay_report()
    optimizer.build(networks.small_variables())
    rows = optimizer.weight_decay_report()
    assert [row["decay_rate"] for row in rows] == [None, None]
