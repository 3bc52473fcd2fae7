"""K-FAC on two mirrored replicas is K-FAC on one device."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfwd.kfac import schedule as schedule_lib
from tfwd_tests.kfac import training
from tfwd_tests.optimizers import replicas

CASES = [
    {"estimation": estimation, "damping_mode": mode}
    for estimation in ("exact", "sampled")
    for mode in ("factored", "eigen")
]
TOLERANCE = 1e-5
LONG = pytest.mark.many


def case_id(case):
    return "-".join(case.values())


def pair(make=training.mlp, **arguments):
    """Returns a model on one device and one on two replicas."""
    models = []
    for scope in (contextlib.nullcontext(), replicas.strategy().scope()):
        with scope:
            models.append(training.compiled(make(), **arguments))
    return models


def inverse_error(mirrored, single):
    """Returns the largest relative error of an inverse.

    Eigenvectors have no definite sign, so theirs is that of Q diag(d) Qᵀ.
    """
    errors = []
    for kept in zip(
        *(m.optimizer.curvature_state().inverses for m in (mirrored, single)),
        strict=True,
    ):
        values = [[np.asarray(v) for v in parts] for parts in kept]
        if len(values[0]) == 2:
            values = [[(q * d) @ q.T] for q, d in values]
        errors.append(training.error(*values))
    return max(errors)


def assert_equal(mirrored, single):
    assert training.error(mirrored, single) <= TOLERANCE
    optimizers = mirrored.optimizer, single.optimizer
    assert training.factor_error(*optimizers) <= TOLERANCE
    assert inverse_error(mirrored, single) <= TOLERANCE


def assert_shared_out(model):
    """Both replicas invert something, and hold the same afterwards."""
    state = model.optimizer.curvature_state()
    costs = [unit.cost for unit in state.units]
    assert set(schedule_lib.balanced(costs, 2)) == {0, 1}
    for variable in model.optimizer.variables:
        copies = replicas.strategy().experimental_local_results(variable.value)
        if len(copies) == 2:
            np.testing.assert_array_equal(*copies)


# Exact and factored, sampled and eigen; the other two under `--full`.
@pytest.mark.parametrize(
    "case",
    [
        case if case in (CASES[0], CASES[3]) else pytest.param(case, marks=LONG)
        for case in CASES
    ],
    ids=case_id,
)
def test_fit_on_two_replicas_gives_the_weights_of_one(case):
    single, mirrored = pair(**case)
    for model in (single, mirrored):
        training.fit(model, epochs=5)
    assert_equal(mirrored, single)
    assert_shared_out(mirrored)


def normalized():
    """Returns a perceptron whose batches are normalized over replicas."""
    return training.reset(
        keras.Sequential(
            [
                keras.Input((training.INPUTS,)),
                keras.layers.Dense(8),
                keras.layers.BatchNormalization(synchronized=True),
                keras.layers.Activation("tanh"),
                keras.layers.Dense(training.CLASSES),
            ]
        )
    )


@pytest.mark.full
def test_fit_with_synchronized_normalization_gives_the_weights_of_one():
    single, mirrored = pair(normalized, estimation="exact")
    for model in (single, mirrored):
        training.fit(model, epochs=2)
    assert_equal(mirrored, single)


@pytest.mark.full
def test_fit_of_a_convolution_on_two_replicas_gives_the_weights_of_one():
    single, mirrored = pair(training.convolutional, stagger_inverses=True)
    for model in (single, mirrored):
        training.fit(model, training.images(), epochs=5)
    assert_equal(mirrored, single)
    assert_shared_out(mirrored)


@pytest.mark.full
@pytest.mark.parametrize("estimation", ["exact", "sampled"])
def test_uneven_last_batch_of_fit_gives_the_factors_of_one(estimation):
    """Of the factors alone: Keras weighs the examples of such a batch by the
    replica they are on, so the weights after it are not those of one."""
    single, mirrored = pair(estimation=estimation)
    for model in (single, mirrored):
        # The seventh batch is the third to enter the factors.
        training.fit(model, training.examples(6 * training.BATCH + 10))
    error = training.factor_error(mirrored.optimizer, single.optimizer)
    assert error <= TOLERANCE


@pytest.mark.many
@pytest.mark.parametrize(
    "case", [CASES[1], pytest.param(CASES[2], marks=LONG)], ids=case_id
)
def test_loop_of_ones_own_gives_the_weights_of_one_also_with_uneven_batches(
    case,
):
    single, mirrored = pair(**case)
    x, y = training.examples(30 * training.BATCH)
    batches = []
    for batch, start in enumerate(range(0, len(x), training.BATCH)):
        # Every fourth batch is of ten examples: eight and two.
        end = start + (10 if batch % 4 == 3 else training.BATCH)
        batches.append((x[start:end], y[start:end]))
    training.by_hand(single, batches)
    train_mirrored(mirrored, batches)
    assert_equal(mirrored, single)
    assert_shared_out(mirrored)


def train_mirrored(model, batches):
    strategy, attached = replicas.strategy(), model.optimizer
    with strategy.scope():
        attached.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)
    def factors(x):
        strategy.run(attached.update_factors, (x,))

    @tf.function(reduce_retracing=True)
    def step(x, y, size):
        strategy.run(replica_step, (x, y, size))

    def replica_step(x, y, size):
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                y, model(x, training=True)
            )
            loss = tf.reduce_sum(losses) / size
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        attached.apply(gradients, variables)

    for batch, (x, y) in enumerate(batches):
        halves = [split(array) for array in (x, y)]
        work = attached.schedule.before(batch)
        if work.factors:
            factors(halves[0])
        # Called from outside, it runs on the replicas by itself.
        attached.update_inverses(work.inverses)
        step(*halves, tf.constant(len(x), "float32"))


def split(array):
    """Returns the first eight rows and the others, for a replica each."""
    parts = [tf.constant(array[:8]), tf.constant(array[8:])]
    return replicas.strategy().experimental_distribute_values_from_function(
        lambda context: parts[context.replica_id_in_sync_group]
    )


@pytest.mark.many
def test_inverses_updated_in_replica_context_are_those_from_outside():
    _, inside = pair()
    _, outside = pair()
    x = split(training.examples(training.BATCH)[0])
    for model in (inside, outside):
        with replicas.strategy().scope():
            model.optimizer.build(model.trainable_variables)
        run(model.optimizer.update_factors, x)
    run(inside.optimizer.update_inverses)
    outside.optimizer.update_inverses()
    assert inverse_error(inside, outside) <= TOLERANCE


def test_optimizer_builds_itself_outside_of_the_scope():
    _, mirrored = pair()
    assert mirrored.optimizer.schedule.before(0).factors


def run(function, *arguments):
    strategy = replicas.strategy()
    tf.function(lambda *values: strategy.run(function, values))(*arguments)
