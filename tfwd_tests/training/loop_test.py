"""The loop: the exact mean over the global batch, on one replica and on two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd.training.loop import loop as loop_lib
from tfwd_tests.training import looping

BATCH, CLASSES, EXAMPLES = looping.BATCH, looping.CLASSES, looping.EXAMPLES
IMAGES, LABELS = looping.IMAGES, looping.LABELS
KERNEL = looping.RANDOM.normal(size=(looping.FEATURES, CLASSES))


def made_loop(strategy, optimizer=tfwd.SGD, layers=(), **arguments):
    def build(model):
        made = optimizer(**arguments)
        made.build(model.trainable_variables)
        return made

    def first():
        inputs = keras.Input((looping.FEATURES,))
        return [inputs, *(layer() for layer in layers)]

    loop = looping.made_loop(strategy, first, build, use_bias=False)
    if not layers:
        loop.replica_step.model.set_weights([KERNEL])
    return loop


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
    ((loss, accuracy),) = looping.trained(loop, limit=2)
    weights = loop.replica_step.model.get_weights()[0]
    np.testing.assert_allclose(weights, kernel, atol=1e-6)
    assert loss == pytest.approx(losses / EXAMPLES, rel=1e-6)
    assert accuracy == pytest.approx(correct / EXAMPLES)


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
        loop = made_loop(looping.mirrored(replicas), optimizer, **arguments)
        results.append([loss for loss, _ in looping.trained(loop, epochs=4)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)
    assert results[0][-1] < results[0][0]


def test_evaluation_is_the_mean_over_examples_on_both_replica_counts():
    means = []
    for replicas in (1, 2):
        loop = made_loop(looping.mirrored(replicas))
        whole = looping.distributed(loop.strategy, weight=1)
        means.append(loop.evaluate(whole, 3, steps_per_call=2))
    logits = IMAGES @ KERNEL
    losses = np.log(np.exp(logits).sum(-1)) - logits[range(EXAMPLES), LABELS]
    for loss, accuracy in means:
        assert loss == pytest.approx(losses.mean(), rel=1e-6)
        assert accuracy == pytest.approx((logits.argmax(-1) == LABELS).mean())


def test_layer_penalties_count_once_whatever_the_replicas():
    def penalized():
        return keras.layers.Dense(
            2, kernel_initializer="ones", kernel_regularizer="l2"
        )

    gradients = []
    for replicas in (1, 2):
        loop = made_loop(
            looping.mirrored(replicas),
            layers=(penalized,),
            learning_rate=1.0,
            momentum=0.0,
        )
        model = loop.replica_step.model
        model.layers[-1].kernel.assign(tf.zeros((2, CLASSES)))
        loop.advance(iter(looping.distributed(loop.strategy)), 0, 1)
        gradients.append(1 - model.layers[0].kernel.numpy())
    # Keras' default l2 is 0.01 * sum of squares: gradient 0.02 at one; the
    # logits, being zero, pass no gradient back to this layer.
    np.testing.assert_allclose(gradients[0], 0.02, rtol=1e-5)
    np.testing.assert_allclose(gradients[1], 0.02, rtol=1e-5)


def test_moving_averages_are_the_mean_of_the_replicas_and_equal_on_both():
    loop = made_loop(
        looping.mirrored(2),
        layers=(lambda: keras.layers.BatchNormalization(momentum=0.0),),
    )
    loop.advance(iter(looping.distributed(loop.strategy)), 0, 1)
    loop.average_replica_state()
    moving_mean = loop.replica_step.model.layers[0].moving_mean
    local = loop.strategy.experimental_local_results(moving_mean.value)
    expected = IMAGES[:BATCH].mean(0)
    for each in local:
        np.testing.assert_allclose(each, expected, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("replicas", [1, 2])
def test_call_ends_with_the_step_that_is_no_number_and_does_not_make_it(
    bad, step, replicas
):
    images = IMAGES.copy()
    images[step * BATCH - 2] = bad
    spoiled = made_loop(looping.mirrored(replicas))
    done = spoiled.advance(
        iter(looping.distributed(spoiled.strategy, images=images)), 0, 3
    )
    assert (done.steps, done.is_finite) == (step, False)
    whole = made_loop(looping.mirrored(replicas))
    if step > 1:
        whole.advance(iter(looping.distributed(whole.strategy)), 0, step - 1)
    np.testing.assert_array_equal(
        spoiled.replica_step.model.get_weights(),
        whole.replica_step.model.get_weights(),
    )


def test_call_that_traces_has_no_time():
    loop = made_loop(tf.distribute.get_strategy())
    iterator = iter(looping.distributed(loop.strategy, epochs=2))
    assert loop.advance(iterator, 0, 2).seconds is None
    assert loop.advance(iterator, 2, 2).seconds > 0


def test_unfinished_number_in_a_row_names_the_step():
    loop_lib.check_finite({"train_loss": 1.0, "test_loss": None}, 3)
    with pytest.raises(loop_lib.NonFiniteError, match="nan after step 3"):
        loop_lib.check_finite({"weight_norm": float("nan")}, 3)
