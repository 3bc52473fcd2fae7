"""K-FAC in the loop: equal to its own steps by hand, on one replica or two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd.training.loop import kfac_work
from tfwd_tests.training import looping

BATCH, CLASSES, EXAMPLES = looping.BATCH, looping.CLASSES, looping.EXAMPLES
FEATURES, IMAGES, LABELS = looping.FEATURES, looping.IMAGES, looping.LABELS
OPTIMIZER = dict(
    learning_rate=0.05,
    weight_decay=0.01,
    damping=0.1,
    factor_every=3,
    inverse_every=6,
    seed=5,
)


def mlp():
    return [keras.layers.Dense(5, activation="tanh")]


def tiny_vgg():
    convolution = keras.layers.Conv2D
    return [
        convolution(4, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(2),
        convolution(6, 3, padding="same"),
        keras.layers.BatchNormalization(center=False, scale=False),
        keras.layers.ReLU(),
        keras.layers.MaxPooling2D(2),
        keras.layers.Flatten(),
    ]


def made_loop(strategy, layers=mlp, shape=(FEATURES,), **arguments):
    def build(model):
        optimizer = tfwd.KFAC(**{**OPTIMIZER, **arguments})
        optimizer.attach(
            model,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        optimizer.build(model.trainable_variables)
        return optimizer

    keras.utils.set_random_seed(3)
    return looping.made_loop(
        strategy, lambda: [keras.Input(shape), *layers()], build
    )


def losses_of(loop, epochs, **arguments):
    return [loss for loss, _ in looping.trained(loop, epochs, **arguments)]


def do(optimizer, work, images, labels):
    if work.factors:
        empirical = optimizer.curvature == "empirical"
        optimizer.update_factors(images, *([labels] if empirical else []))
    if work.inverses:
        optimizer.update_inverses(work.inverses)


def trained_by_hand(loop, epochs):
    model, optimizer = loop.replica_step.model, loop.replica_step.optimizer
    batches = looping.batches(loop.strategy, epochs)
    for step, (images, labels, weights, _) in enumerate(batches):
        do(optimizer, optimizer.schedule.before(step), images, labels)
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(
                labels, model(images, training=True), from_logits=True
            )
            loss = tf.reduce_sum(weights * losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        do(optimizer, optimizer.schedule.after(step), images, labels)


def weights_of(loop):
    weights = loop.replica_step.model.get_weights()
    return np.concatenate([np.ravel(each) for each in weights])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"update_order": "authors", "kl_clip": 1e-3},
        *(
            pytest.param(each, marks=pytest.mark.many)
            for each in (
                {"stagger_inverses": True, "damping_mode": "eigen"},
                {"curvature": "gauss_newton", "estimation": "exact"},
                {"curvature": "empirical"},
                {"gradient_accumulation_steps": 2, "weight_decay_mode": "l2"},
            )
        ),
    ],
    ids=str,
)
def test_loop_takes_the_steps_of_the_optimizers_own_methods(arguments):
    strategy = tf.distribute.get_strategy()
    by_hand = made_loop(strategy, **arguments)
    trained_by_hand(by_hand, epochs=4)
    loop = made_loop(strategy, **arguments)
    looping.trained(loop, epochs=4)
    # Compiled and eager sums of float32 round differently, 12 steps long.
    np.testing.assert_allclose(weights_of(loop), weights_of(by_hand), atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        *(
            pytest.param(each, marks=pytest.mark.full)
            for each in (
                {"update_order": "authors", "kl_clip": 1e-3},
                {"stagger_inverses": True},
            )
        ),
    ],
    ids=str,
)
def test_one_and_two_replicas_sample_the_same_labels(arguments):
    losses = []
    for replicas in (1, 2):
        loop = made_loop(looping.mirrored(replicas), **arguments)
        losses.append(losses_of(loop, epochs=4, limit=2))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.many
def test_tiny_vgg_learns_on_two_replicas():
    # Its batch statistics are those of each replica, so one replica differs.
    images = looping.RANDOM.normal(size=(EXAMPLES, 8, 8, 3)).astype(np.float32)
    images[..., 0] += LABELS[:, None, None]
    loop = made_loop(
        looping.mirrored(2),
        layers=tiny_vgg,
        shape=(8, 8, 3),
        learning_rate=0.02,
    )
    losses = losses_of(loop, epochs=8, images=images)
    assert losses[-1] < losses[0] / 2


@pytest.mark.many
def test_training_repeats_bit_for_bit():
    first, second = (
        losses_of(made_loop(tf.distribute.get_strategy()), epochs=4)
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("replicas", [1, 2])
def test_cold_start_is_the_mean_of_all_batches(replicas):
    loop = made_loop(looping.mirrored(replicas), layers=list)
    before = weights_of(loop)
    loop.curvature.cold_start(looping.distributed(loop.strategy))
    rows = np.concatenate([IMAGES, np.ones((EXAMPLES, 1))], 1)
    means = [
        each.T @ each / len(each)
        for each in np.split(rows, range(BATCH, EXAMPLES, BATCH))
    ]
    ((factor, _),) = loop.replica_step.optimizer.factors().values()
    np.testing.assert_allclose(factor, np.mean(means, 0), atol=1e-6)
    np.testing.assert_array_equal(weights_of(loop), before)


def test_statistics_that_are_no_numbers_are_warned_of_once():
    loop = made_loop(tf.distribute.get_strategy())
    loop.curvature.warn_of_failures()
    bad = np.full((BATCH, FEATURES), np.nan, np.float32)
    loop.replica_step.optimizer.update_factors(tf.constant(bad))
    with pytest.warns(UserWarning, match="dropped_statistics: 2"):
        loop.curvature.warn_of_failures()
    loop.curvature.warn_of_failures()


def test_first_order_optimizers_have_no_work():
    work = kfac_work.of(tf.distribute.get_strategy(), tfwd.SGD())
    assert work.plain_steps(0, 7) == 7


def test_calls_that_trace_have_no_time():
    loop = made_loop(tf.distribute.get_strategy())
    iterator = iter(looping.distributed(loop.strategy, epochs=4))
    seconds, step = [], 0
    while step < 9:
        done = loop.advance(iterator, step, min(10, 9 - step))
        seconds.append(done.seconds)
        step += done.steps
    # Steps 0, 3 and 6 have work: both kinds in the first and the last, in the
    # other one kind alone, whose step is another program. Then plain ones.
    traced = [each is None for each in seconds]
    assert traced == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    "step", [2, *(pytest.param(s, marks=pytest.mark.many) for s in (1, 3))]
)
def test_call_ends_with_the_step_that_is_no_number(step):
    images = IMAGES.copy()
    images[(step - 1) * BATCH] = np.nan
    loop = made_loop(tf.distribute.get_strategy())
    iterator = iter(looping.distributed(loop.strategy, images=images))
    taken, is_finite = 0, True
    while is_finite:
        done = loop.advance(iterator, taken, 3)
        taken += done.steps
        is_finite = done.is_finite
    assert taken == step
