"""What a built optimizer's step is made of cannot be set any more."""

import keras
import numpy as np
import pytest
from keras import ops

import tfwd
from tfwd_tests.optimizers import networks
from tfwd_tests.optimizers import table

KERAS = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)
OWN = ("weight_decay_mode", "weight_decay_schedule")
CASES = sorted(
    {
        (row.name, argument)
        for row in table.ROWS
        for argument in (*row.cls.hyperparameters, *OWN)
    }
    | {("AdamS", argument) for argument in KERAS}
)


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_argument_is_refused_after_build_and_keeps_its_value(name, argument):
    row = next(r for r in table.ROWS if r.name == name and not r.label)
    optimizer = row.cls(row.learning_rate, **row.constants)
    optimizer.build([keras.Variable([1.0])])
    before = getattr(optimizer, argument)
    with pytest.raises(ValueError, match=f"^`{argument}` must not change"):
        setattr(optimizer, argument, 0.5)
    assert getattr(optimizer, argument) == before


def test_argument_set_before_build_is_heeded():
    optimizer = tfwd.SGD(1.0, momentum=0.9)
    optimizer.momentum = 0.5
    variable = keras.Variable([0.0])
    for _ in range(2):
        optimizer.apply([ops.ones((1,))], [variable])
    # m is 1, then 0.5 + 1.
    np.testing.assert_allclose(ops.convert_to_numpy(variable), [-2.5])


def test_rates_may_change_between_compiled_steps():
    optimizer = tfwd.SGDW(0.5, weight_decay=0.0, momentum=0.0)
    model = networks.linear_model(optimizer)
    x, y = np.zeros((2, 2), "float32"), np.zeros(2)
    model.fit(x, y, verbose=0)
    optimizer.weight_decay = 0.5
    optimizer.learning_rate = 0.25
    before = model.get_weights()[0]
    model.fit(x, y, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], before * (1 - 0.125))
