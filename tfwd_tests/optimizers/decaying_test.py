"""How much decays: arguments, changes between steps, v̄, wrappers."""

import re

import keras
import numpy as np
import pytest
from keras import ops

import tfwd
from tfwd_tests import keras_features
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import networks
from tfwd_tests.optimizers import reference
from tfwd_tests.optimizers import table

COMPILATIONS = pytest.mark.parametrize("jit_compile", [False, True])


@COMPILATIONS
@pytest.mark.parametrize(
    ("name", "algorithm", "mode"),
    [
        ("SGD", "sgd", "l2"),
        ("SGDW", "sgd", "decoupled"),
        ("AdamS", "adam", "stable"),
        ("Adai", "adai", "independent"),
    ],
)
def test_a_new_coefficient_takes_effect_in_the_compiled_step(
    name, algorithm, mode, jit_compile
):
    generator = np.random.default_rng(0)
    rows = np.float32(generator.normal(size=(6, 1, 2)))
    decays = [0.0, 0.5, 0.5, 0.25, 0.0, 0.125]
    optimizer = getattr(tfwd, name)(2.0**-7, weight_decay_mode=mode)
    model = networks.linear_model(optimizer, jit_compile)
    for row, decay in zip(rows, decays, strict=True):
        optimizer.weight_decay = decay
        model.train_on_batch(row, np.zeros((1, 1)))
    truth = reference.train(
        algorithm,
        mode,
        [np.array([[1.0], [-2.0]])],
        [[row.T] for row in rows],
        [2.0**-7] * 6,
        decays,
    )
    assert harness.relative_error(model.get_weights(), truth) <= 2e-6


def test_the_schedule_of_the_coefficient_ignores_that_of_the_learning_rate():
    step_decay = keras.optimizers.schedules.PiecewiseConstantDecay
    optimizer = tfwd.SGDW(
        step_decay([0], [0.5, 0.25]),
        0.5,
        momentum=0.0,
        weight_decay_schedule=step_decay([1], [1.0, 0.5]),
    )
    model = networks.linear_model(optimizer)
    effective, rates = [], []
    for _ in range(4):
        before = model.get_weights()[0]
        model.train_on_batch(np.zeros((1, 2)), np.zeros((1, 1)))
        effective.append(networks.number(optimizer.effective_weight_decay))
        rates.append(1 - model.get_weights()[0][0, 0] / before[0, 0])
    assert effective == [0.5, 0.5, 0.25, 0.25]
    np.testing.assert_allclose(rates, [0.25, 0.125, 0.0625, 0.0625], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("SGD", {"learning_rate": -0.1}, "learning_rate=-0.1"),
        ("AdamW", {"learning_rate": float("nan")}, "learning_rate=nan"),
        ("SGDS", {"weight_decay": -5e-4}, "weight_decay=-0.0005"),
        ("Yogi", {"weight_decay": float("nan")}, "weight_decay=nan"),
        ("RAdam", {"weight_decay": float("inf")}, "weight_decay=inf"),
        ("Adai", {"weight_decay": None}, "weight_decay=None"),
        ("Adam", {"epsilon": -1e-8}, "epsilon=-1e-08"),
        ("Yogi", {"epsilon": -1e-3}, "epsilon=-0.001"),
        ("Adai", {"epsilon": 0.0}, "epsilon=0.0"),
        ("SGD", {"momentum": 1.0}, "momentum=1.0"),
        ("SGDW", {"momentum": -0.1}, "momentum=-0.1"),
        ("SGDS", {"dampening": 1.5}, "dampening=1.5"),
        ("SGD", {"nesterov": True, "momentum": 0}, "momentum=0.0, damp.*=0.0"),
        ("Adam", {"beta_1": 1.0}, "beta_1=1.0"),
        ("AMSGradS", {"beta_2": 1.0}, "beta_2=1.0"),
        ("Adai", {"beta_2": 1.5}, "beta_2=1.5"),
        ("AdamS", {"adaptivity": 1.5}, "adaptivity=1.5"),
        ("SGD", {"weight_decay_mode": "L2"}, "weight_decay_mode=L2"),
        ("SGDW", {"weight_decay_mode": "stable"}, "weight_decay_mode=stable"),
        ("AdamS", {"weight_decay_mode": "l2"}, "weight_decay_mode=l2"),
        ("SGD", {"weight_decay_mode": "elementwise"}, "mode=elementwise"),
        ("SGD", {"weight_decay_schedule": 0.5}, "weight_decay_schedule=0.5"),
    ],
)
def test_a_bad_argument_is_refused_with_its_rule(name, arguments, message):
    with pytest.raises(ValueError) as error:
        getattr(tfwd, name)(**arguments)
    (line,) = str(error.value).splitlines()
    argument = next(iter(arguments))
    assert line.startswith(f"`{argument}` ")
    rule, value = line.split(" Received: ")
    assert rule.endswith(".")
    assert re.search(message + "$", value)


def test_a_bad_coefficient_is_refused_also_after_construction():
    optimizer = tfwd.SGDS(0.1, weight_decay=0.5)
    with pytest.raises(ValueError, match="Received: weight_decay=-1$"):
        optimizer.weight_decay = -1
    assert networks.number(optimizer.weight_decay) == 0.5


@pytest.mark.parametrize("name", ["AdamW", "AMSGradS", "RAdam", "Adai"])
def test_float16_variables_are_refused_where_squares_are_kept(name):
    variable = keras.Variable(np.zeros(3), dtype="float16")
    with pytest.raises(ValueError, match="must not be float16.*Received:"):
        getattr(tfwd, name)().build([variable])


def test_adabound_with_a_schedule_needs_the_rate_of_its_bounds():
    warmup = tfwd.schedules.Warmup(1e-3, 500)
    with pytest.raises(ValueError, match="`initial_learning_rate` must be giv"):
        tfwd.AdaBound(warmup)
    with pytest.raises(ValueError, match="Received: learning_rate=0"):
        tfwd.AdaBound(0.0)
    given = tfwd.AdaBound(warmup, initial_learning_rate=1e-3)
    assert given.initial_learning_rate == 1e-3
    assert tfwd.AdaBound(1e-2).initial_learning_rate == 1e-2


def test_whole_numbers_are_numbers():
    optimizer = tfwd.SGDW(1, 1, momentum=0)
    variable = keras.Variable(np.float32([3.0]))
    harness.apply_all(optimizer, [variable], [[[0.25]]])
    np.testing.assert_array_equal(ops.convert_to_numpy(variable), [-0.25])


@pytest.mark.parametrize("case", table.DEFAULT_CASES, ids=table.case_id)
def test_first_gradients_of_zero_leave_no_nan_behind(case):
    row, mode = case
    theta, gradients = harness.random_problem(10)
    for step in gradients[:3]:
        step[:] = [0 * gradient for gradient in step]
    optimizer = row.make(mode)
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )
    truth = reference.train(
        row.algorithm,
        mode,
        theta,
        gradients,
        [row.learning_rate] * 10,
        [0.02] * 10,
    )
    assert harness.relative_error(actual, truth) <= 2e-6


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("AdamS", "stable"),
        ("Adam", "elementwise"),
        ("AMSGradS", "stable"),
        ("AMSGrad", "elementwise"),
        ("AdaBound", "stable"),
        ("Padam", "stable"),
    ],
)
def test_nothing_decays_before_the_first_gradient(name, mode):
    theta, gradients = harness.random_problem(1)
    theta = [np.float32(x) for x in theta]
    silence = [[0 * gradient for gradient in gradients[0]]] * 3
    optimizer = getattr(tfwd, name)(0.1, 0.5, weight_decay_mode=mode)
    result = harness.apply_all(
        optimizer, harness.make_variables(theta), silence
    )
    for after, before in zip(result, theta, strict=True):
        np.testing.assert_array_equal(after, before)


def test_the_mean_counts_excluded_variables_and_only_those_with_a_gradient():
    # Elements with a gradient: one of 8 (excluded) and three of 0, so that
    # v̄ = 64/4; the four without a gradient do not count.
    variables = [
        keras.Variable(np.zeros(n, "float32"), name=name)
        for n, name in ((1, "bias"), (3, "kernel"), (4, "frozen"))
    ]
    optimizer = tfwd.AdamS(1e-3, 1.0, exclude_from_weight_decay=["^bias$"])
    gradients = [[np.full(1, 8.0), np.zeros(3), None]]
    harness.apply_all(optimizer, variables, gradients)
    assert networks.number(optimizer.effective_weight_decay) == pytest.approx(
        1 / 4
    )


def test_inside_a_loss_scale_the_steps_are_those_of_the_plain_gradients():
    theta, gradients = harness.random_problem(10)
    scale = 2.0**15
    scaled = [[scale * g for g in step] for step in gradients]
    spoiled = [[np.inf * g for g in gradients[0]]]
    inner = tfwd.AdamS(2.0**-7, 0.02)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, scale)
    # A step that is not finite halves the scale and is skipped.
    late = [[g / 2 for g in step] for step in scaled[6:]]
    actual = harness.apply_all(
        optimizer,
        harness.make_variables(theta),
        scaled[:6] + spoiled + late,
    )
    truth = reference.train(
        "adam", "stable", theta, gradients, [2.0**-7] * 10, [0.02] * 10
    )
    assert harness.relative_error(actual, truth) <= 2e-6
    assert networks.number(inner.iterations) == 10


@keras_features.needs_multi_optimizer
def test_inside_a_multi_optimizer_the_mean_is_that_of_the_group():
    theta, gradients = harness.random_problem(10)
    optimizer = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            tfwd.AdamS(2.0**-7, 0.02),
            {"bias": tfwd.AdamS(2.0**-6, 0.05)},
        )
    )
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )
    for positions, rate, decay in (
        ([0, 2], 2.0**-7, 0.02),
        ([1], 2.0**-6, 0.05),
    ):
        truth = reference.train(
            "adam",
            "stable",
            [theta[i] for i in positions],
            [[step[i] for i in positions] for step in gradients],
            [rate] * 10,
            [decay] * 10,
        )
        group = [actual[i] for i in positions]
        assert harness.relative_error(group, truth) <= 2e-6
