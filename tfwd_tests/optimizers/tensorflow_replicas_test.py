"""Two mirrored replicas against numpy on the sum of their gradients."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import replicas
from tfwd_tests.optimizers import table
from tfwd_tests.optimizers import transforms

STABLE_ROWS = (table.Row("SGDS", "sgd"), table.Row("AdamS", "adam"))


@pytest.fixture(params=[True, False], ids=["merge_call", "no_merge_call"])
def merge_call(request, monkeypatch):
    """Without merge_call as on TPUs and on several GPUs under XLA."""
    if not request.param:
        monkeypatch.setattr(
            replicas.strategy().extended, "_use_merge_call", lambda: False
        )


def maker(row, mode, **arguments):
    return functools.partial(row.make, mode, **arguments)


def assert_both_close(actual, expected, tolerance=1e-6):
    for one, other in zip(*actual, strict=True):
        np.testing.assert_array_equal(one, other)
    assert harness.relative_error(actual[0], expected) <= tolerance


@pytest.mark.parametrize(
    "case", table.abridged(table.DEFAULT_CASES), ids=table.case_id
)
def test_two_replicas_give_the_step_of_the_summed_gradient(case, merge_call):
    row, mode = case
    theta, gradients = harness.random_problem(8)
    actual = replicas.apply_all(
        maker(row, mode), theta, replicas.split(gradients)
    )
    expected = row.expected(mode, theta, gradients)
    assert_both_close(actual, expected)


@pytest.mark.parametrize("clip", transforms.CLIPS, ids=lambda clip: clip[0])
@pytest.mark.parametrize("row", STABLE_ROWS, ids=lambda row: row.name)
def test_clipping_acts_on_the_sum_over_replicas(row, clip, merge_call):
    name, bound, function = clip
    theta, gradients = harness.random_problem(8)
    actual = replicas.apply_all(
        maker(row, "stable", **{name: bound}), theta, replicas.split(gradients)
    )
    clipped = [function(step, bound) for step in gradients]
    expected = row.expected("stable", theta, clipped)
    assert_both_close(actual, expected)


@pytest.mark.parametrize("row", STABLE_ROWS, ids=lambda row: row.name)
def test_learning_rate_multipliers_act_on_two_replicas(row, merge_call):
    theta, gradients = harness.random_problem(8)
    multipliers = {"^kernel$": 0.25, "^bias$": 0.0}
    actual = replicas.apply_all(
        maker(row, "stable", learning_rate_multipliers=multipliers),
        theta,
        replicas.split(gradients),
    )
    expected = row.expected(
        "stable", theta, gradients, rate_factors=[0.25, 0.0, 1.0]
    )
    assert_both_close(actual, expected)


@pytest.mark.parametrize("row", STABLE_ROWS, ids=lambda row: row.name)
def test_accumulation_works_on_two_replicas(row, merge_call):
    theta, gradients = harness.random_problem(9)
    actual = replicas.apply_all(
        maker(row, "stable", gradient_accumulation_steps=3),
        theta,
        replicas.split(gradients),
    )
    means = transforms.means_of_three(gradients)
    expected = row.expected("stable", theta, means)
    assert_both_close(actual, expected)


def test_averages_overwrite_weights_on_two_replicas_as_on_one(merge_call):
    arguments = {
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 3,
    }
    row = table.Row("AdamS", "adam")
    theta, gradients = harness.random_problem(8)
    actual = replicas.apply_all(
        maker(row, "stable", **arguments), theta, replicas.split(gradients)
    )
    single = harness.apply_all(
        maker(row, "stable", **arguments)(),
        harness.make_variables(theta),
        gradients,
    )
    assert_both_close(actual, single)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tfwd.AdamS(0.01, weight_decay=table.WEIGHT_DECAY),
        lambda: tfwd.AdamS(
            0.01, weight_decay=table.WEIGHT_DECAY, loss_scale_factor=1.0
        ),
    ],
    ids=["plain", "loss_scale"],
)
def test_repeated_embedding_ids_are_summed_over_rows_and_replicas(make):
    generator = np.random.default_rng(0)
    theta = [generator.normal(size=(6, 3)), generator.normal(size=(4,))]
    ids = np.array([[0, 2, 2], [2, 5, 0]])
    steps, dense = [], []
    for _ in range(6):
        rows = generator.normal(size=(2, 3, 3))
        other = generator.normal(size=(2, 4))
        steps.append(tuple([(ids[r], rows[r]), other[r]] for r in range(2)))
        summed = np.zeros((6, 3))
        np.add.at(summed, ids.reshape(-1), rows.reshape(-1, 3))
        dense.append([summed, other.sum(0)])
    actual = replicas.apply_all(make, theta, steps, as_slices=(0,))
    row = table.Row("AdamS", "adam", learning_rate=0.01)
    assert_both_close(actual, row.expected("stable", theta, dense))


def slices_step(optimizer, variable, ids, rows):
    slices = tf.IndexedSlices(
        tf.constant(rows, "float32"),
        tf.constant(ids, "int64"),
        tf.constant(variable.shape, "int64"),
    )
    optimizer.apply([slices], [variable])


@pytest.mark.parametrize(
    "case", table.abridged(table.DEFAULT_CASES), ids=table.case_id
)
def test_embedding_gradients_with_repeated_and_unused_ids(case):
    row, mode = case
    generator = np.random.default_rng(0)
    theta = generator.normal(size=(6, 3))
    ids = np.array([0, 2, 2, 5])
    variable = keras.Variable(theta, dtype="float32", name="embeddings")
    optimizer = maker(row, mode, global_clipnorm=3.0)()
    dense = []
    for _ in range(6):
        rows = generator.normal(size=(4, 3))
        slices_step(optimizer, variable, ids, rows)
        summed = np.zeros((6, 3))
        np.add.at(summed, ids, rows)
        dense.append(transforms.clip_by_global_norm([summed], 3.0))
    expected = row.expected(mode, [theta], dense)
    actual = [keras.ops.convert_to_numpy(variable)]
    assert harness.relative_error(actual, expected) <= 2e-6


def test_keras_adam_squares_repeated_ids_one_by_one():
    """What the README says of Keras today; when this fails, it has changed."""
    ids, rows = np.array([0, 2, 2, 5]), np.ones((4, 3))
    by_slices = keras.Variable(np.zeros((6, 3)), dtype="float32")
    by_sums = keras.Variable(np.zeros((6, 3)), dtype="float32")
    summed = np.zeros((6, 3), "float32")
    np.add.at(summed, ids, rows)
    sparse, dense = keras.optimizers.Adam(0.1), keras.optimizers.Adam(0.1)
    for _ in range(6):
        slices_step(sparse, by_slices, ids, rows)
        dense.apply([tf.constant(summed)], [by_sums])
    difference = np.abs(by_slices.numpy() - by_sums.numpy())
    assert difference[2].min() > 0.1


def test_variable_that_sums_over_replicas_is_refused():
    with replicas.strategy().scope():
        variable = keras.Variable(
            np.zeros(3), dtype="float32", aggregation="sum"
        )
        optimizer = tfwd.AdamS()
        with pytest.raises(ValueError, match="aggregation='none'"):
            optimizer.build([variable])
