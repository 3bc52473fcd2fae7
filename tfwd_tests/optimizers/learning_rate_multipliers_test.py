"""A multiplier of η is one of the step and of the decay, in every optimizer."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import tfwd
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import networks
from tfwd_tests.optimizers import reference
from tfwd_tests.optimizers import table

STEPS = 12
# Of kernel, bias and embeddings; the last decays less besides.
RATE_FACTORS = (0.25, 1.0, 3.0)
MULTIPLIERS = {"^kernel$": 0.25, "^embeddings$": 3.0}


def problem(shapes=harness.SHAPES):
    """Returns parameters and gradients that float32 holds."""
    theta, gradients = harness.random_problem(STEPS, shapes=shapes)
    theta = [np.float32(x) for x in theta]
    return theta, [[np.float32(g) for g in step] for step in gradients]


@pytest.mark.parametrize("case", table.abridged(table.CASES), ids=table.case_id)
def test_step_and_decay_are_multiplied_as_the_formula_says(case):
    row, mode = case
    theta, gradients = problem()
    rate, factor, rates, decays = table.schedules(row.learning_rate, STEPS)
    optimizer = row.cls(
        rate,
        weight_decay=table.WEIGHT_DECAY,
        weight_decay_mode=mode,
        weight_decay_schedule=factor,
        weight_decay_multipliers={"^embeddings$": 0.5},
        learning_rate_multipliers=MULTIPLIERS,
        **row.constants,
    )
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )
    truth = reference.train(
        row.algorithm,
        mode,
        theta,
        gradients,
        rates,
        decays,
        factors=(1.0, 1.0, 0.5),
        rate_factors=RATE_FACTORS,
        **row.constants,
    )
    assert harness.relative_error(actual, truth) <= 2e-6


@pytest.mark.parametrize(
    "case", table.abridged(table.DEFAULT_CASES), ids=table.case_id
)
def test_a_variable_alone_moves_as_with_the_learning_rate_multiplied(case):
    row, mode = case
    theta, gradients = problem(shapes=((7, 5),))
    # Where the decay has no η, the coefficient is multiplied by itself.
    decay = table.WEIGHT_DECAY * (0.25 if mode == "independent" else 1)
    constants = dict(row.constants)
    expected = row.cls(
        0.25 * row.learning_rate, decay, weight_decay_mode=mode, **constants
    )
    optimizer = row.make(mode, learning_rate_multipliers={"kernel": 0.25})
    actual, truth = (
        harness.apply_all(o, harness.make_variables(theta), gradients)
        for o in (optimizer, expected)
    )
    # A product of three scalars in another order.
    assert harness.relative_error(actual, truth) <= 1e-6


@pytest.mark.parametrize("case", table.DEFAULT_CASES, ids=table.case_id)
def test_multipliers_of_one_leave_every_bit(case):
    row, mode = case
    theta, gradients = problem()
    plain, ones = (
        harness.apply_all(
            row.make(mode, learning_rate_multipliers=multipliers),
            harness.make_variables(theta),
            gradients,
        )
        for multipliers in (None, {".": 1.0})
    )
    for a, b in zip(plain, ones, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", tfwd.Adam.weight_decay_modes)
def test_a_factor_of_zero_freezes_while_the_statistics_go_on(mode):
    theta, gradients = problem()
    optimizer = tfwd.Adam(
        0.1,
        weight_decay=0.5,
        weight_decay_mode=mode,
        learning_rate_multipliers={"^kernel$": 0},
    )
    twin = tfwd.Adam(0.1, weight_decay=0.5, weight_decay_mode=mode)
    kernel, *others = harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )
    moved = harness.apply_all(twin, harness.make_variables(theta), gradients)
    np.testing.assert_array_equal(kernel, theta[0])
    assert not np.array_equal(moved[0], theta[0])
    for one, other in zip(others, moved[1:], strict=True):
        np.testing.assert_array_equal(one, other)
    if mode != "l2":  # There θ is in the gradient.
        np.testing.assert_array_equal(
            ops.convert_to_numpy(optimizer.velocities[0]),
            ops.convert_to_numpy(twin.velocities[0]),
        )


def test_matching_patterns_multiply_and_presets_match():
    optimizer = tfwd.SGD(
        learning_rate_multipliers={"head": 0.5, "@bias": 4, "kernel": 0.5}
    )
    optimizer.build(networks.small_variables())
    assert optimizer.learning_rate_factors == (0.25, 2.0)
    assert optimizer.weight_decay_factors == (1.0, 1.0)


def test_a_pattern_that_matches_nothing_is_refused():
    optimizer = tfwd.SGD(learning_rate_multipliers={"backbone": 0.5})
    with pytest.raises(ValueError) as error:
        optimizer.build(networks.small_variables())
    assert str(error.value) == (
        "`learning_rate_multipliers` must match a variable with each pattern. "
        "Received: 'backbone', which matches none of: head/kernel, head/bias"
    )
    assert optimizer.learning_rate_factors is None


@pytest.mark.parametrize(
    "value", [{"kernel": -0.5}, {"kernel": float("nan")}, ["kernel"], {"": 1}]
)
def test_multipliers_that_are_none_are_refused(value):
    with pytest.raises(ValueError) as error:
        tfwd.AdamW(learning_rate_multipliers=value)
    (line,) = str(error.value).splitlines()
    assert line.startswith("`learning_rate_multipliers")
    assert "Received: " in line


def model_with(optimizer):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="tanh", name="first"),
            keras.layers.Dense(3, name="second"),
        ]
    )
    model.compile(optimizer, "mse")
    return model


def trained_one_epoch(model):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(32, 6)), generator.normal(size=(32, 3))
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    return model.get_weights()


def test_a_saved_model_keeps_them_by_position(tmp_path):
    optimizer = tfwd.AdamS(
        0.01,
        0.1,
        # Renamed when it is loaded.
        learning_rate_multipliers={"^sequential.*/first/kernel": 0.25},
    )
    model = model_with(optimizer)
    trained_one_epoch(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.learning_rate_factors == (0.25, 1.0, 1.0, 1.0)
    for a, b in zip(
        trained_one_epoch(model), trained_one_epoch(loaded), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_a_config_from_before_them_means_ones():
    optimizer = tfwd.SGDW(exclude_from_weight_decay="bias")
    optimizer.build(networks.small_variables())
    config = json.loads(json.dumps(optimizer.get_config()))
    del config["learning_rate_multipliers"]
    for record in config["weight_decay_selection"]:
        del record["learning_rate_factor"]
    again = tfwd.SGDW.from_config(config)
    again.build(networks.small_variables())
    assert again.learning_rate_factors == (1.0, 1.0)
    assert again.weight_decay_factors == (1.0, 0.0)


def test_other_variables_have_their_patterns_resolved_anew():
    optimizer = tfwd.SGD(learning_rate_multipliers={"kernel": 0.5})
    optimizer.build(networks.small_variables())
    again = tfwd.SGD.from_config(optimizer.get_config())
    others = networks.small_variables() + networks.small_variables("big_")
    with pytest.warns(UserWarning, match="patterns are resolved anew"):
        again.build(others)
    assert again.learning_rate_factors == (0.5, 1.0, 0.5, 1.0)


def test_the_summary_has_a_column_of_the_learning_rate():
    optimizer = tfwd.AdamW(
        learning_rate_multipliers={"kernel": 0.5},
        exclude_from_weight_decay="@bias",
    )
    optimizer.build(networks.small_variables())
    lines = []
    optimizer.weight_decay_summary(lines.append)
    assert lines[0].splitlines()[1:] == [
        "  variable     shape   factor  learning rate",
        "  head/kernel  (4, 3)  1       0.5",
        "  head/bias    (3,)    -       1",
    ]
