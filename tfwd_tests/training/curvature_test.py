"""K-FAC in the loop: equal to its own steps by hand, on one replica or two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd.training import curvature
from tfwd.training import loop as loop_lib
from tfwd.training import strategy as strategy_lib

CLASSES, FEATURES, EXAMPLES, BATCH, STEPS = 3, 4, 11, 4, 3
RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
LABELS = RANDOM.integers(CLASSES, size=EXAMPLES).astype(np.int32)
OPTIMIZER = dict(
    learning_rate=0.05,
    weight_decay=0.01,
    damping=0.1,
    factor_every=3,
    inverse_every=6,
    seed=5,
)


def batches(epochs=1, images=IMAGES, labels=LABELS):
    """Batches of 4, 4 and 3, so that two replicas get unequal shares."""

    def generate():
        for start in [*range(0, EXAMPLES, BATCH)] * epochs:
            some = labels[start : start + BATCH]
            weights = np.full(len(some), 1 / len(some), np.float32)
            yield images[start : start + BATCH], some, weights

    return tf.data.Dataset.from_generator(
        generate,
        output_signature=(
            tf.TensorSpec((None, *images.shape[1:]), tf.float32),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.float32),
        ),
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


def made_loop(
    strategy, steps_per_loop=10, layers=mlp, shape=(FEATURES,), **arguments
):
    keras.utils.set_random_seed(3)
    with strategy.scope():
        model = keras.Sequential(
            [keras.Input(shape), *layers(), keras.layers.Dense(CLASSES)]
        )
        optimizer = tfwd.KFAC(**{**OPTIMIZER, **arguments})
        optimizer.attach(
            model,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        optimizer.build(model.trainable_variables)
    return loop_lib.Loop(strategy, model, optimizer, steps_per_loop)


def trained(loop, epochs, **data):
    distributed = loop.strategy.experimental_distribute_dataset(
        batches(epochs, **data)
    )
    iterator = iter(distributed)
    return [loop.train(iterator, STEPS)["train_loss"] for _ in range(epochs)]


def do(optimizer, work, images, labels):
    if work.factors:
        empirical = optimizer.curvature == "empirical"
        optimizer.update_factors(images, *([labels] if empirical else []))
    if work.inverses:
        optimizer.update_inverses(work.inverses)


def trained_by_hand(model, optimizer, epochs):
    for step, (images, labels, weights) in enumerate(batches(epochs)):
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
    return np.concatenate([np.ravel(w) for w in loop.model.get_weights()])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"update_order": "authors", "kl_clip": 1e-3},
        {"stagger_inverses": True, "damping_mode": "eigen"},
        {"curvature": "gauss_newton", "estimation": "exact"},
        {"curvature": "empirical"},
        {"gradient_accumulation_steps": 2, "weight_decay_mode": "l2"},
    ],
    ids=str,
)
def test_loop_takes_the_steps_of_the_optimizers_own_methods(arguments):
    strategy = tf.distribute.get_strategy()
    by_hand = made_loop(strategy, **arguments)
    trained_by_hand(by_hand.model, by_hand.optimizer, epochs=4)
    loop = made_loop(strategy, **arguments)
    trained(loop, epochs=4)
    # Compiled and eager sums of float32 round differently, 12 steps long.
    np.testing.assert_allclose(weights_of(loop), weights_of(by_hand), atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"update_order": "authors", "kl_clip": 1e-3},
        {"stagger_inverses": True},
    ],
    ids=str,
)
def test_one_and_two_replicas_sample_the_same_labels(arguments):
    losses = []
    for replicas in (1, 2):
        strategy = strategy_lib.create("mirrored", replicas)
        loop = made_loop(strategy, steps_per_loop=2, **arguments)
        losses.append(trained(loop, epochs=4))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]


def test_tiny_vgg_learns_on_two_replicas():
    # Its batch statistics are those of each replica, so one replica differs.
    images = RANDOM.normal(size=(EXAMPLES, 8, 8, 3)).astype(np.float32)
    images[..., 0] += LABELS[:, None, None]
    loop = made_loop(
        strategy_lib.create("mirrored", 2),
        layers=tiny_vgg,
        shape=(8, 8, 3),
        learning_rate=0.02,
    )
    losses = trained(loop, epochs=8, images=images)
    assert losses[-1] < losses[0] / 2


def test_training_repeats_bit_for_bit():
    first, second = (
        trained(made_loop(tf.distribute.get_strategy()), epochs=4)
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("replicas", [1, 2])
def test_cold_start_is_the_mean_of_all_batches(replicas):
    strategy = strategy_lib.create("mirrored", replicas)
    loop = made_loop(strategy, layers=list)
    before = weights_of(loop)
    loop.curvature.cold_start(
        strategy.experimental_distribute_dataset(batches())
    )
    rows = np.concatenate([IMAGES, np.ones((EXAMPLES, 1))], 1)
    means = [
        each.T @ each / len(each)
        for each in np.split(rows, range(BATCH, EXAMPLES, BATCH))
    ]
    ((factor, _),) = loop.optimizer.factors().values()
    np.testing.assert_allclose(factor, np.mean(means, 0), atol=1e-6)
    np.testing.assert_array_equal(weights_of(loop), before)


def test_statistics_that_are_no_numbers_are_warned_of_once():
    loop = made_loop(tf.distribute.get_strategy())
    loop.curvature.warn_of_failures()
    bad = np.full((BATCH, FEATURES), np.nan, np.float32)
    loop.optimizer.update_factors(tf.constant(bad))
    with pytest.warns(UserWarning, match="dropped_statistics: 2"):
        loop.curvature.warn_of_failures()
    loop.curvature.warn_of_failures()


def test_first_order_optimizers_have_no_work():
    work = curvature.of(tf.distribute.get_strategy(), tfwd.SGD())
    assert work.plain_steps(0, 7) == 7


def test_calls_that_trace_are_left_out_of_the_speed():
    loop = made_loop(tf.distribute.get_strategy())
    data = iter(batches(epochs=4))
    # A step with work, then two plain ones, each traced.
    assert loop.train(data, 3)["examples_per_second"] is None
    loop.train(data, 4)
    assert loop.train(data, 2)["examples_per_second"] > 0


@pytest.mark.parametrize("step", [1, 2, 3])
def test_loss_that_is_no_number_names_its_step(step):
    images = IMAGES.copy()
    images[(step - 1) * BATCH] = np.nan
    loop = made_loop(tf.distribute.get_strategy())
    trained(loop, epochs=2)
    with pytest.raises(
        loop_lib.NonFiniteLossError, match=rf"step {6 + step}\b"
    ):
        trained(loop, epochs=1, images=images)
