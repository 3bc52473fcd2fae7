"""The loop: the exact mean over the global batch, on one replica and on two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd.training import loop as loop_lib
from tfwd.training import strategy as strategy_lib

CLASSES, FEATURES, EXAMPLES, BATCH = 3, 4, 11, 4
RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
LABELS = RANDOM.integers(CLASSES, size=EXAMPLES).astype(np.int32)
KERNEL = RANDOM.normal(size=(FEATURES, CLASSES))


def batches(epochs=1, images=IMAGES):
    """Batches of 4, 4 and 3, so that two replicas get unequal shares."""

    def generate():
        for start in [*range(0, EXAMPLES, BATCH)] * epochs:
            labels = LABELS[start : start + BATCH]
            weights = np.full(len(labels), 1 / len(labels), np.float32)
            yield images[start : start + BATCH], labels, weights

    return tf.data.Dataset.from_generator(
        generate,
        output_signature=(
            tf.TensorSpec((None, FEATURES), tf.float32),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.float32),
        ),
    )


def made_loop(strategy, optimizer=tfwd.SGD, layers=(), **arguments):
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((FEATURES,)),
                *(layer() for layer in layers),
                keras.layers.Dense(CLASSES, use_bias=False),
            ]
        )
        if not layers:
            model.set_weights([KERNEL])
        made = optimizer(**arguments)
        made.build(model.trainable_variables)
    return loop_lib.Loop(strategy, model, made, steps_per_loop=2)


def trained(loop, epochs=1, images=IMAGES):
    data = loop.strategy.experimental_distribute_dataset(
        batches(epochs, images)
    )
    iterator = iter(data)
    return [loop.train(iterator, 3) for _ in range(epochs)]


def test_training_equals_softmax_regression_in_numpy():
    kernel = KERNEL.astype(np.float64)
    losses, correct = 0.0, 0
    for start in range(0, EXAMPLES, BATCH):
        x, y = IMAGES[start : start + BATCH], LABELS[start : start + BATCH]
        logits = x @ kernel
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        losses -= np.log(p[np.arange(len(y)), y]).sum()
        correct += (p.argmax(-1) == y).sum()
        kernel -= 0.5 * x.T @ (p - np.eye(CLASSES)[y]) / len(y)

    loop = made_loop(
        tf.distribute.get_strategy(), learning_rate=0.5, momentum=0.0
    )
    (means,) = trained(loop)
    np.testing.assert_allclose(loop.model.get_weights()[0], kernel, atol=1e-6)
    assert means["train_loss"] == pytest.approx(losses / EXAMPLES, rel=1e-6)
    assert means["train_accuracy"] == pytest.approx(correct / EXAMPLES)
    assert loop.step == 3


@pytest.mark.parametrize(
    ("optimizer", "arguments"),
    [
        (tfwd.AdamS, {"learning_rate": 0.05, "weight_decay": 1e-2}),
        (tfwd.SGD, {"weight_decay": 1e-2, "global_clipnorm": 0.1}),
        (tfwd.SGDS, {"loss_scale_factor": 64.0}),
        (tfwd.AdaiS, {"gradient_accumulation_steps": 2}),
    ],
)
def test_one_and_two_replicas_see_the_same_losses(optimizer, arguments):
    results = []
    for replicas in (1, 2):
        strategy = strategy_lib.create("mirrored", replicas)
        loop = made_loop(strategy, optimizer, **arguments)
        results.append([m["train_loss"] for m in trained(loop, epochs=4)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)
    assert results[0][-1] < results[0][0]


def test_evaluation_is_the_mean_over_examples_on_both_replica_counts():
    means = []
    for replicas in (1, 2):
        loop = made_loop(strategy_lib.create("mirrored", replicas))
        data = batches().map(lambda images, labels, weights: (images, labels))
        data = loop.strategy.experimental_distribute_dataset(data)
        means.append(loop.evaluate(data, 3, "test"))
    logits = IMAGES @ KERNEL
    losses = np.log(np.exp(logits).sum(-1)) - logits[range(EXAMPLES), LABELS]
    for each in means:
        assert each["test_loss"] == pytest.approx(losses.mean(), rel=1e-6)
        assert each["test_accuracy"] == pytest.approx(
            (logits.argmax(-1) == LABELS).mean()
        )


def test_layer_penalties_count_once_whatever_the_replicas():
    def penalized():
        return keras.layers.Dense(
            2, kernel_initializer="ones", kernel_regularizer="l2"
        )

    gradients = []
    for replicas in (1, 2):
        loop = made_loop(
            strategy_lib.create("mirrored", replicas),
            layers=(penalized,),
            learning_rate=1.0,
            momentum=0.0,
        )
        loop.model.layers[-1].kernel.assign(tf.zeros((2, CLASSES)))
        data = loop.strategy.experimental_distribute_dataset(batches())
        loop.train(iter(data), 1)
        gradients.append(1 - loop.model.layers[0].kernel.numpy())
    # Keras' default l2 is 0.01 * sum of squares: gradient 0.02 at one; the
    # logits, being zero, pass no gradient back to this layer.
    np.testing.assert_allclose(gradients[0], 0.02, rtol=1e-5)
    np.testing.assert_allclose(gradients[1], 0.02, rtol=1e-5)


def test_moving_averages_are_the_mean_of_the_replicas_and_equal_on_both():
    loop = made_loop(
        strategy_lib.create("mirrored", 2),
        layers=(lambda: keras.layers.BatchNormalization(momentum=0.0),),
    )
    data = loop.strategy.experimental_distribute_dataset(batches())
    loop.train(iter(data), 1)
    moving_mean = loop.model.layers[0].moving_mean
    local = loop.strategy.experimental_local_results(moving_mean.value)
    expected = IMAGES[:BATCH].mean(0)
    for each in local:
        np.testing.assert_allclose(each, expected, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_loss_that_is_no_number_names_its_step(bad, step):
    images = IMAGES.copy()
    images[(step - 1) * BATCH] = bad
    loop = made_loop(tf.distribute.get_strategy())
    trained(loop)
    with pytest.raises(
        loop_lib.NonFiniteLossError, match=rf"step {3 + step}\b"
    ):
        trained(loop, images=images)


def test_first_call_is_left_out_of_the_speed():
    loop = made_loop(tf.distribute.get_strategy())
    data = iter(batches(epochs=2))
    assert loop.train(data, 2)["examples_per_second"] is None
    assert loop.train(data, 2)["examples_per_second"] > 0


def test_unfinished_number_in_a_row_names_the_step():
    loop_lib.check_finite({"train_loss": 1.0, "test_loss": None}, 3)
    with pytest.raises(loop_lib.NonFiniteLossError, match="nan after step 3"):
        loop_lib.check_finite({"weight_norm": float("nan")}, 3)
