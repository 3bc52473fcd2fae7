"""NumPy's numbers as arguments of K-FAC train as Python's do."""

import json

import numpy as np
import pytest

import tfwd
from tfwd_tests.kfac import training

NUMBERS = {
    "learning_rate": 2.0**-6,
    "weight_decay": 2.0**-5,
    "damping": 0.125,
    "momentum": 0.75,
    "factor_decay": 0.875,
    "kl_clip": 2.0**-6,
    "curvature_scale": 2.0,
}
WHOLE = {"factor_every": 2, "inverse_every": 4, "seed": 3}


def trained(number, whole):
    arguments = {name: number(value) for name, value in NUMBERS.items()}
    arguments |= {name: whole(value) for name, value in WHOLE.items()}
    optimizer = tfwd.KFAC(**arguments, name="kfac")
    model = training.mlp()
    model.compile(optimizer, training.cross_entropy())
    optimizer.attach(model)
    x, y = training.examples()
    model.fit(x, y, training.BATCH, shuffle=False, verbose=0)
    config = json.loads(json.dumps(optimizer.get_config()))
    return config, model.get_weights()


@pytest.mark.parametrize(
    ("number", "whole"),
    [
        (np.float32, np.int64),
        pytest.param(np.float64, np.asarray, marks=pytest.mark.many),
    ],
)
def test_weights_and_config_are_those_of_python_numbers(number, whole):
    config, expected = trained(float, int)
    found, weights = trained(number, whole)
    for name in (*NUMBERS, *WHOLE):
        assert found[name] == config[name]
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == np.float32
