"""The λ of each coordinate against what an optimizer itself reports."""

import keras
import numpy as np
import pytest

import tfwd
from tfwd.training.setup import optimization as optimizer_lib
from tfwd.tuning import coordinates

ALL = [
    (name, mode)
    for name, cls in optimizer_lib.OPTIMIZERS.items()
    for mode in cls.weight_decay_modes
]
WITH_TIMESCALE = [
    (tfwd.AdamW, {}),
    (tfwd.Adam, {"weight_decay_mode": "independent"}),
    (tfwd.SGDW, {"momentum": 0.5}),
    (tfwd.SGDS, {"momentum": 0.5, "dampening": 0.2}),
    (tfwd.AdaiS, {}),
    (tfwd.RAdam, {}),
]


@pytest.mark.parametrize("cls, given", WITH_TIMESCALE)
def test_averaging_time_of_a_step_is_the_timescale_chosen(cls, given):
    optimizer = cls(0.01, **given)
    unit = coordinates.rate_of_unit_decay(optimizer, 0.01)
    optimizer.weight_decay = coordinates.from_timescale(7.0, unit, 30)
    variable = keras.Variable(np.ones(3, "float32"), name="kernel")
    optimizer.build([variable])
    for _ in range(6):  # RAdam rests until then.
        optimizer.apply([keras.ops.ones(3)], [variable])
    (row,) = optimizer.weight_decay_report()
    # In steps, and in float32.
    np.testing.assert_allclose(row["averaging_time"], 7 * 30, rtol=1e-5)


def test_kfac_in_mode_stable_has_the_rate_of_its_momentum():
    optimizer = tfwd.KFAC(weight_decay_mode="stable", momentum=0.75)
    assert coordinates.rate_of_unit_decay(optimizer, 0.5) == 0.5 / 0.25


def test_a_rate_is_the_product_of_both():
    weight_decay = coordinates.from_rate(1e-6, 1e-3)
    np.testing.assert_allclose(1e-3 * weight_decay, 1e-6, rtol=1e-12)


@pytest.mark.parametrize("name, mode", ALL)
def test_timescale_is_had_where_the_decay_rate_ignores_the_gradients(
    name, mode
):
    cls = optimizer_lib.OPTIMIZERS[name]
    if name == "kfac":  # It would have to be attached to a model.
        assert coordinates.has_timescale(cls, mode) == (mode != "l2")
        return
    rates = set()
    for size in (1.0, 2.0):
        optimizer = cls(0.01, 0.1, weight_decay_mode=mode)
        variable = keras.Variable(np.ones(2, "float32"), name="kernel")
        optimizer.build([variable])
        for _ in range(6):
            optimizer.apply([size * keras.ops.ones(2)], [variable])
        (row,) = optimizer.weight_decay_report()
        rates.add(row["decay_rate"])
    is_one = len(rates) == 1 and None not in rates
    assert coordinates.has_timescale(cls, mode) == is_one
