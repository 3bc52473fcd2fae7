"""What happens to gradients before the update: clips, accumulation, scale."""

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import reference
from tfwd_tests.optimizers import table

WEIGHT_DECAY = 0.02


def clip_by_norm(step, bound):
    return [g * min(1, bound / np.linalg.norm(g)) for g in step]


def clip_by_global_norm(step, bound):
    norm = np.sqrt(sum(np.sum(g**2) for g in step))
    return [g * min(1, bound / norm) for g in step]


def clip_by_value(step, bound):
    return [np.clip(g, -bound, bound) for g in step]


CLIPS = (
    ("clipnorm", 0.5, clip_by_norm),
    ("global_clipnorm", 0.5, clip_by_global_norm),
    ("clipvalue", 0.05, clip_by_value),
)


def truth(row, mode, theta, gradients, weight_decay=WEIGHT_DECAY):
    return reference.train(
        row.algorithm,
        mode,
        theta,
        gradients,
        [row.learning_rate] * len(gradients),
        [weight_decay] * len(gradients),
        **row.constants,
    )


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip[0])
@pytest.mark.parametrize(
    "case",
    [case for case in table.DEFAULT_CASES if case[0].name in ("SGD", "Adam")],
    ids=table.case_id,
)
def test_clipping_acts_on_the_gradient_of_the_loss_alone(case, clip):
    (row, mode), (name, bound, function) = case, clip
    theta, gradients = harness.random_problem(10)
    optimizer = row.cls(
        row.learning_rate,
        weight_decay=WEIGHT_DECAY,
        weight_decay_mode=mode,
        **{name: bound},
    )
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )
    clipped = [function(step, bound) for step in gradients]
    expected = truth(row, mode, theta, clipped)
    assert harness.relative_error(actual, expected) <= 2e-6
    unclipped = truth(row, mode, theta, gradients)
    assert harness.relative_error(actual, unclipped) > 1e-4


def means_of_three(gradients):
    """Returns the mean gradient of each three consecutive steps."""
    return [
        [np.mean(group, axis=0) for group in zip(*three, strict=True)]
        for three in zip(*[iter(gradients)] * 3, strict=True)
    ]


@pytest.mark.parametrize("case", table.DEFAULT_CASES, ids=table.case_id)
def test_accumulation_steps_once_with_the_mean_gradient(case):
    row, mode = case
    theta, gradients = harness.random_problem(12)
    optimizer = row.cls(
        row.learning_rate,
        weight_decay=WEIGHT_DECAY,
        weight_decay_mode=mode,
        gradient_accumulation_steps=3,
    )
    actual = harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )
    expected = truth(row, mode, theta, means_of_three(gradients))
    assert harness.relative_error(actual, expected) <= 2e-6


@pytest.mark.parametrize("case", table.DEFAULT_CASES, ids=table.case_id)
def test_loss_scale_leaves_no_trace(case):
    row, mode = case
    theta, gradients = harness.random_problem(10)
    inner = row.cls(
        row.learning_rate, weight_decay=WEIGHT_DECAY, weight_decay_mode=mode
    )
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=1024.0)
    scaled = [[1024.0 * g for g in step] for step in gradients]
    actual = harness.apply_all(optimizer, harness.make_variables(theta), scaled)
    expected = truth(row, mode, theta, gradients)
    assert harness.relative_error(actual, expected) <= 2e-6


def test_static_loss_scale_is_divided_out():
    row = table.Row("AdamS", "adam")
    theta, gradients = harness.random_problem(10)
    optimizer = tfwd.AdamS(
        row.learning_rate, weight_decay=WEIGHT_DECAY, loss_scale_factor=64.0
    )
    scaled = [[64.0 * g for g in step] for step in gradients]
    actual = harness.apply_all(optimizer, harness.make_variables(theta), scaled)
    expected = truth(row, "stable", theta, gradients)
    assert harness.relative_error(actual, expected) <= 2e-6


@pytest.mark.parametrize(
    ("name", "learning_rate"),
    [("SGDS", 0.05), ("AdamS", 0.05), ("AMSGradS", 0.05), ("AdaiS", 0.5)],
)
def test_mixed_float16_fit_learns(name, learning_rate):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(256, 8)).astype("float32")
    y = (x @ generator.normal(size=(8, 1)) > 0).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="relu", dtype="mixed_float16"),
            keras.layers.Dense(1, dtype="float32"),
        ]
    )
    inner = getattr(tfwd, name)(
        learning_rate, weight_decay=1e-3, exclude_from_weight_decay="@bias"
    )
    model.compile(
        optimizer=keras.optimizers.LossScaleOptimizer(inner),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    history = model.fit(x, y, batch_size=64, epochs=8, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < 0.6 * losses[0]
    assert inner.weight_decay_factors == (1.0, 0.0, 1.0, 0.0)
    assert 0 < float(keras.ops.convert_to_numpy(inner.effective_weight_decay))
