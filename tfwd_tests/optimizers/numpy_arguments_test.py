"""NumPy's numbers as arguments train as Python's do, and save as JSON.

A product of an `np.float64` and a float32 tensor is float64 on JAX and an
error on TensorFlow; a sweep over `np.linspace` is made of them.
"""

import inspect
import json
import math

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.optimizers import harness

# The same number in float16, float32 and float64.
NUMBERS = {
    "learning_rate": 2.0**-6,
    "weight_decay": 2.0**-5,
    "momentum": 0.75,
    "dampening": 0.25,
    "beta_0": 0.125,
    "beta_1": 0.75,
    "beta_2": 0.9375,
    "epsilon": 2.0**-10,
    "adaptivity": 0.375,
    "second_moment_offset": 2.0**-8,
    "final_learning_rate": 2.0**-4,
    "gamma": 2.0**-7,
    "initial_learning_rate": 2.0**-6,
    "partial": 0.125,
    "initial_accumulator_value": 2.0**-9,
    "clipnorm": 0.5,
    "ema_momentum": 0.875,
    "loss_scale_factor": 4.0,
}
WHOLE = {"ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2}
OF_KERAS = ("clipnorm", "ema_momentum", "loss_scale_factor", *WHOLE)
KINDS = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "array": np.asarray,
}


def arguments_of(cls, kind):
    """Every numeric argument of a class, as one kind of NumPy's numbers."""
    own = [
        name for name in NUMBERS if name in inspect.signature(cls).parameters
    ]
    floats = {name: kind(NUMBERS[name]) for name in (*own, *OF_KERAS[:3])}
    whole = np.asarray if kind is np.asarray else np.int64
    return floats | {name: whole(value) for name, value in WHOLE.items()}


def trained(optimizer):
    theta, gradients = harness.random_problem(steps=6)
    return harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )


QUICK = ("sgds", "adams", "adai")
CASES = [
    pytest.param(
        cls,
        kind,
        id=f"{name}-{kind}",
        marks=() if name in QUICK and kind == "float32" else pytest.mark.many,
    )
    for name, cls in tfwd.optimizers.OPTIMIZERS.items()
    for kind in KINDS
]


@pytest.mark.parametrize(("cls", "kind"), CASES)
def test_steps_are_bit_identical_to_those_of_python_numbers(cls, kind):
    kind = KINDS[kind]
    numbers = arguments_of(cls, kind)
    expected = cls(
        **{name: value.item() for name, value in numbers.items()},
        weight_decay_multipliers={".": 0.5},
        use_ema=True,
        name="one",
    )
    made = cls(
        **numbers,
        weight_decay_multipliers={".": kind(0.5)},
        use_ema=np.True_,
        name=np.str_("one"),
    )
    config = json.loads(json.dumps(made.get_config()))
    assert config == expected.get_config()
    for one, other in zip(trained(made), trained(expected), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == np.float32
    again = keras.optimizers.deserialize(
        json.loads(json.dumps(keras.optimizers.serialize(made)))
    )
    assert again.get_config() == made.get_config()


def test_the_numbers_stand_for_every_numeric_argument():
    numeric = set()
    for cls in tfwd.optimizers.OPTIMIZERS.values():
        for name, parameter in inspect.signature(cls).parameters.items():
            is_switch = isinstance(parameter.default, bool)
            if isinstance(parameter.default, (int, float)) and not is_switch:
                numeric.add(name)
    assert numeric <= set(NUMBERS)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: tfwd.schedules.step_decay(n(0.5), 10, (2, 4), n(0.25)),
        lambda n: tfwd.schedules.Warmup(n(0.5), 4),
    ],
)
def test_schedules_of_numpy_numbers_are_those_of_python_numbers(make):
    steps = np.arange(40)
    expected = make(float)
    for kind in KINDS.values():
        made = make(kind)
        assert json.dumps(made.get_config()) == json.dumps(
            expected.get_config()
        )
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy([made(int(t)) for t in steps]),
            keras.ops.convert_to_numpy([expected(int(t)) for t in steps]),
        )


def test_schedules_take_numpy_integers_and_save_as_json():
    for n in (np.int32, np.int64, np.uint8, np.asarray):
        made = [
            tfwd.schedules.step_decay(0.5, n(10), (n(2), n(4))),
            tfwd.schedules.step_decay(0.5, n(10), np.array([2, 4])),
            tfwd.schedules.Warmup(0.5, n(4)),
        ]
        for schedule in made:
            json.dumps(schedule.get_config())


@pytest.mark.parametrize("kind", KINDS)
def test_scaling_is_of_python_floats(kind):
    n, scaling = KINDS[kind], tfwd.scaling
    for result, expected in [
        (scaling.linear_scaling(n(0.5), n(512), n(128)), 2.0),
        (scaling.square_root_scaling(n(0.5), n(512), n(128)), 1.0),
        (scaling.weight_decay_scaling(n(0.5), n(512), n(128)), 2.0),
        (scaling.epochs_scaling(n(0.5), n(512), n(128)), 0.125),
        (scaling.normalized_weight_decay(n(0.5), n(64), n(16), n(4)), 0.5),
        (scaling.from_summed_loss(n(0.5), n(4)), 0.125),
        (scaling.from_keras_l2(n(0.5)), 1.0),
        (scaling.to_keras_l2(n(0.5)), 0.25),
        (scaling.decoupled_from_stable(n(0.5), n(0.75), n(0.5)), 1.0),
    ]:
        assert type(result) is float
        assert math.isclose(result, expected, rel_tol=0.0)
