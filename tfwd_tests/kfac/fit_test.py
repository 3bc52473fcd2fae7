"""K-FAC in `compile` and `fit`, with what Keras offers around them.

Covers `jax_fit`, `tensorflow_fit` and `trainer`.
"""

import keras
import numpy as np
import pytest

from tfwd_tests import marks
from tfwd_tests.kfac import training

EVERY_STEP = {"factor_every": 1, "inverse_every": 1}


def change(data=None, **arguments):
    """Returns the changes of all weights by one step, as one list."""
    model = training.compiled(momentum=0.0, **arguments)
    before = model.get_weights()
    training.fit(model, data or training.examples(training.BATCH))
    return [a - b for a, b in zip(model.get_weights(), before, strict=True)]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"curvature": "gauss_newton", "damping_mode": "eigen"},
        *marks.many(
            {"curvature": "empirical", "kl_clip": 1e-2},
            {"update_order": "authors", "stagger_inverses": True},
            {"weight_decay_mode": "l2", "estimation": "exact"},
        ),
    ],
    ids=["fisher", "gauss_newton", "empirical", "authors", "l2"],
)
def test_loss_goes_down(arguments):
    losses = training.fit(training.compiled(**arguments), epochs=3)
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.many
def test_callbacks_of_keras_act_as_always(tmp_path):
    rates = [0.02, 0.02, 5.0]
    model = training.compiled()
    path = str(tmp_path / "best.weights.h5")
    losses = training.fit(
        model,
        epochs=5,
        validation_data=training.examples(32, seed=1),
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch]),
            keras.callbacks.ModelCheckpoint(
                path,
                monitor="loss",
                save_best_only=True,
                save_weights_only=True,
            ),
            keras.callbacks.EarlyStopping(
                "val_loss", patience=1, restore_best_weights=True
            ),
        ],
    )
    assert len(losses) == 3
    two = training.compiled()
    training.fit(two, epochs=2)
    assert training.error(model, two) == 0
    assert float(model.optimizer.learning_rate) == 5.0
    model.load_weights(path)
    assert training.error(model, two) == 0


@pytest.mark.many
def test_dataset_with_steps_per_epoch_is_the_same_as_arrays():
    import tensorflow as tf

    x, y = training.examples()
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    dataset = dataset.batch(training.BATCH).repeat()
    arrays, batched = training.compiled(), training.compiled()
    training.fit(arrays, epochs=2)
    batched.fit(dataset, steps_per_epoch=6, epochs=2, verbose=0, shuffle=False)
    assert training.error(batched, arrays) == 0


@pytest.mark.many
def test_weights_of_one_are_none():
    ones = np.ones(6 * training.BATCH, "float32")
    plain, weighted = training.compiled(), training.compiled()
    training.fit(plain)
    training.fit(weighted, sample_weight=ones)
    assert training.error(weighted, plain) <= 1e-5


@pytest.mark.many
def test_class_weight_is_the_weight_of_the_examples_of_a_class():
    x, y = training.examples()
    weights = {0: 2.0, 1: 0.5, 2: 1.0}
    by_class, by_example = training.compiled(), training.compiled()
    training.fit(by_class, class_weight=weights)
    sample_weight = np.array([weights[label] for label in y], "float32")
    training.fit(by_example, (x, y), sample_weight=sample_weight)
    assert training.error(by_class, by_example) <= 1e-5


@pytest.mark.many
def test_train_on_batch_takes_the_steps_of_fit():
    x, y = training.examples()
    fitted, stepped = training.compiled(), training.compiled()
    training.fit(fitted)
    for start in range(0, len(x), training.BATCH):
        batch = slice(start, start + training.BATCH)
        training.step(stepped, x[batch], y[batch])
    assert training.error(stepped, fitted) == 0


@pytest.mark.many
def test_three_steps_per_execution_are_three_steps_also_at_the_end():
    """Seven batches, the last one of ten examples."""
    data = training.examples(6 * training.BATCH + 10)
    one = training.compiled()
    three = training.compiled(settings={"steps_per_execution": 3})
    for model in (one, three):
        training.fit(model, data, epochs=2)
    assert training.error(three, one) == 0
    assert training.factor_error(three.optimizer, one.optimizer) == 0


def test_factors_weigh_batches_of_any_size_by_their_age_alone():
    model = training.compiled(factor_decay=0.5, **EVERY_STEP)
    x, y = training.examples(2 * training.BATCH + 10)
    training.fit(model, (x, y))
    rows = np.concatenate([x, np.ones_like(x[:, :1])], axis=1)
    batches = np.split(rows, [training.BATCH, 2 * training.BATCH])
    moments = [b.T.astype("float64") @ b / len(b) for b in batches]
    expected = np.tensordot([1 / 7, 2 / 7, 4 / 7], moments, axes=1)
    actual = model.optimizer.factors()[model.layers[0].name][0]
    assert training.error([actual], [expected]) <= 1e-6


@pytest.mark.parametrize(
    "settings",
    [
        {"jit_compile": True},
        *marks.many({"jit_compile": False}, {"run_eagerly": True}),
    ],
    ids=["jit", "no_jit", "eager"],
)
def test_way_of_compiling_does_not_matter(settings):
    data = training.examples(4 * training.BATCH)
    expected, actual = training.compiled(), training.compiled(settings=settings)
    for model in (expected, actual):
        training.fit(model, data)
    assert training.error(actual, expected) <= 1e-5
    error = training.factor_error(actual.optimizer, expected.optimizer)
    assert error <= 1e-5


def test_factors_are_float32_under_mixed_bfloat16():
    model = training.compiled(training.mlp(dtype="mixed_bfloat16"))
    losses = training.fit(model, epochs=3)
    assert losses[2] < losses[0]
    for factors in model.optimizer.factors().values():
        assert {str(f.dtype) for f in factors} == {"float32"}


@pytest.mark.parametrize("estimation", ["sampled", *marks.many("exact")])
def test_probabilities_and_a_named_loss_are_logits_and_theirs(estimation):
    logits = training.compiled(estimation=estimation)
    probabilities = training.compiled(
        training.mlp(output="softmax"),
        "sparse_categorical_crossentropy",
        estimation=estimation,
    )
    for model in (logits, probabilities):
        training.fit(model)
    assert training.error(probabilities, logits) <= 1e-4


def test_averages_of_weights_are_those_of_the_steps():
    model = training.compiled(use_ema=True, ema_momentum=0.5)
    x, y = training.examples(4 * training.BATCH)
    recorded, average = [], None
    for part in np.split(np.arange(len(x)), 4):
        training.step(model, x[part], y[part])
        recorded.append(model.get_weights())
    average = recorded[0]
    for weights in recorded[1:]:
        average = [(a + w) / 2 for a, w in zip(average, weights, strict=True)]
    model.optimizer.finalize_variable_values(model.trainable_weights)
    assert training.error(model, average) <= 1e-6


@pytest.mark.many
def test_clipping_scales_the_gradient_before_the_curvature():
    free = change(weight_decay=0.0)
    loose = change(weight_decay=0.0, global_clipnorm=1e3)
    half = change(weight_decay=0.0, global_clipnorm=0.2)
    quarter = change(weight_decay=0.0, global_clipnorm=0.1)
    assert training.error(loose, free) <= 1e-6
    assert training.error(half, [2 * c for c in quarter]) <= 1e-4
    scale = np.linalg.norm(quarter[0]) / np.linalg.norm(free[0])
    assert scale < 0.5
    assert training.error(quarter, [scale * c for c in free]) <= 1e-4


def test_excluded_variables_do_not_decay():
    """Weights and biases of one, whose decay differs by ηλ in one step."""

    def ones():
        model = training.mlp()
        model.set_weights([np.ones_like(w) for w in model.get_weights()])
        return model

    arguments = {"learning_rate": 0.01, "exclude_from_weight_decay": "@bias"}
    decayed = change(model=ones(), weight_decay=0.5, **arguments)
    plain = change(model=ones(), weight_decay=0.0, **arguments)
    for one, other in zip(decayed, plain, strict=True):
        expected = 0.01 * 0.5 if one.ndim == 2 else 0
        np.testing.assert_allclose(other - one, expected, atol=2e-7)


def test_schedule_of_the_learning_rate_ends_the_training():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [6], [0.02, 0.0]
    )
    constant, scheduled = training.compiled(), None
    scheduled = training.compiled(learning_rate=schedule)
    training.fit(constant)
    # The boundary itself belongs to the first value.
    training.fit(scheduled, epochs=2)
    x, y = training.examples(training.BATCH)
    training.fit(constant, (x, y))
    assert training.error(scheduled, constant) <= 1e-6


@pytest.mark.parametrize("damping_mode", ["factored", *marks.many("eigen")])
def test_schedule_of_the_damping_acts_from_its_step_on(damping_mode):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [5], [0.1, 1e2]
    )
    every = {"damping_mode": damping_mode, **EVERY_STEP}
    constant = training.compiled(**every)
    scheduled = training.compiled(damping=schedule, **every)
    x, y = training.examples(9 * training.BATCH)
    first, later = slice(0, 96), slice(96, None)
    for model in (constant, scheduled):
        training.fit(model, (x[first], y[first]))
    assert training.error(scheduled, constant) <= 1e-6
    for model in (constant, scheduled):
        training.fit(model, (x[later], y[later]))
    assert training.error(scheduled, constant) > 1e-2


def test_weight_decay_can_be_changed_between_fits():
    changed, kept = [training.compiled(momentum=0.0) for _ in range(2)]
    for model in (changed, kept):
        training.fit(model)
    before = kept.get_weights()
    changed.optimizer.weight_decay = 1.01
    data = training.examples(training.BATCH)
    for model in (changed, kept):
        training.fit(model, data)
    expected = [
        weights - 0.02 * 1.0 * old
        for weights, old in zip(kept.get_weights(), before, strict=True)
    ]
    assert training.error(changed, expected) <= 1e-6
