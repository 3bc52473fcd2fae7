"""What happens to gradients before the update: clips, accumulation, scale."""

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests import marks
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import table
from tfwd_tests.optimizers import transforms


@pytest.mark.parametrize("clip", transforms.CLIPS, ids=lambda clip: clip[0])
@pytest.mark.parametrize(
    "case",
    [case for case in table.DEFAULT_CASES if case[0].name in ("SGD", "Adam")],
    ids=table.case_id,
)
def test_clipping_acts_on_the_gradient_of_the_loss_alone(case, clip):
    (row, mode), (name, bound, function) = case, clip
    theta, gradients = harness.random_problem(10)
    optimizer = row.make(mode, **{name: bound})
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )
    clipped = [function(step, bound) for step in gradients]
    expected = row.expected(mode, theta, clipped)
    assert harness.relative_error(actual, expected) <= 2e-6
    unclipped = row.expected(mode, theta, gradients)
    assert harness.relative_error(actual, unclipped) > 1e-4


@pytest.mark.parametrize(
    "case", table.abridged(table.DEFAULT_CASES), ids=table.case_id
)
def test_accumulation_steps_once_with_the_mean_gradient(case):
    row, mode = case
    theta, gradients = harness.random_problem(12)
    optimizer = row.make(mode, gradient_accumulation_steps=3)
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )
    expected = row.expected(mode, theta, transforms.means_of_three(gradients))
    assert harness.relative_error(actual, expected) <= 2e-6


@pytest.mark.parametrize(
    "case", table.abridged(table.DEFAULT_CASES), ids=table.case_id
)
def test_loss_scale_leaves_no_trace(case):
    row, mode = case
    theta, gradients = harness.random_problem(10)
    inner = row.make(mode)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=1024.0)
    scaled = [[1024.0 * g for g in step] for step in gradients]
    actual = harness.apply_all(optimizer, harness.make_variables(theta), scaled)
    expected = row.expected(mode, theta, gradients)
    assert harness.relative_error(actual, expected) <= 2e-6


def test_static_loss_scale_is_divided_out():
    row = table.Row("AdamS", "adam")
    theta, gradients = harness.random_problem(10)
    optimizer = tfwd.AdamS(
        row.learning_rate,
        weight_decay=table.WEIGHT_DECAY,
        loss_scale_factor=64.0,
    )
    scaled = [[64.0 * g for g in step] for step in gradients]
    actual = harness.apply_all(optimizer, harness.make_variables(theta), scaled)
    expected = row.expected("stable", theta, gradients)
    assert harness.relative_error(actual, expected) <= 2e-6


def losses_of_fit(name, dtype):
    keras.utils.set_random_seed(1)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(256, 8)).astype("float32")
    y = (x @ generator.normal(size=(8, 1)) > 0).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="relu", dtype=dtype),
            keras.layers.Dense(1, dtype="float32"),
        ]
    )
    optimizer = getattr(tfwd, name)(
        0.5 if name.startswith("Adai") else 0.05,
        weight_decay=1e-3,
        exclude_from_weight_decay="@bias",
    )
    wrapped = optimizer
    if dtype == "mixed_float16":
        wrapped = keras.optimizers.LossScaleOptimizer(optimizer)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizer=wrapped, loss=loss)
    history = model.fit(x, y, batch_size=64, epochs=8, shuffle=False, verbose=0)
    assert optimizer.weight_decay_factors == (1.0, 0.0, 1.0, 0.0)
    return np.array(history.history["loss"])


@pytest.mark.parametrize(
    "name",
    [
        *table.STABLE,
        *marks.many(
            *sorted({row.name for row in table.ROWS} - {*table.STABLE})
        ),
    ],
)
def test_mixed_float16_fit_follows_float32(name):
    """Within 1 % of the loss; half precision has three digits."""
    half = losses_of_fit(name, "mixed_float16")
    single = losses_of_fit(name, "float32")
    assert single[-1] < 0.8 * single[0]
    np.testing.assert_allclose(half, single, rtol=0.01)
