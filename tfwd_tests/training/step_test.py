"""A step of one replica is softmax regression, whatever pads its batch.

Covers `hooks` and `features`.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd import data
from tfwd.training.loop import kfac_work
from tfwd.training.loop import step as step_lib
from tfwd_tests.training import looping

CLASSES, FEATURES = looping.CLASSES, looping.FEATURES
IMAGES, LABELS = looping.IMAGES, looping.LABELS
RATE = 0.5


def made_step(optimizer=None, finish=lambda batch, training: batch):
    model = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(CLASSES)]
    )
    if optimizer:
        optimizer.build(model.trainable_variables)
    work = kfac_work.NoWork()
    return step_lib.Step(model, optimizer, curvature=work, finish=finish)


def padded(padding):
    """All examples with the weight of their mean, and three rows of padding."""
    count = len(LABELS)
    return data.Batch(
        tf.constant(
            np.concatenate([IMAGES, np.full((3, FEATURES), padding)]),
            tf.float32,
        ),
        tf.constant(np.append(LABELS, [0, 1, 2]), tf.int32),
        tf.constant([1 / count] * count + [0] * 3, tf.float32),
        tf.zeros(count + 3, tf.uint32),
    )


def regression(kernel, bias):
    """Probabilities, losses and hits of softmax regression, in float64."""
    logits = IMAGES.astype(np.float64) @ kernel + bias
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    losses = -np.log(p[np.arange(len(LABELS)), LABELS])
    return p, losses, logits.argmax(-1) == LABELS


@pytest.mark.parametrize("padding", [0.0, 1.0, -1e30])
def test_training_step_is_that_of_softmax_regression_without_padding(padding):
    step = made_step(tfwd.SGD(learning_rate=RATE, momentum=0.0))
    kernel, bias = step.model.get_weights()
    p, losses, correct = regression(kernel, bias)
    loss, skipped, *sums = step.train(padded(padding)).numpy()
    assert loss == pytest.approx(losses.mean(), rel=1e-6)
    assert skipped == 0
    assert sums == pytest.approx([losses.sum(), correct.sum(), len(LABELS)])
    error = (p - np.eye(CLASSES)[LABELS]) / len(LABELS)
    found = step.model.get_weights()
    np.testing.assert_allclose(
        found[0], kernel - RATE * IMAGES.T @ error, atol=1e-6
    )
    np.testing.assert_allclose(found[1], bias - RATE * error.sum(0), atol=1e-6)


@pytest.mark.parametrize("padding", [0.0, -1e30, np.nan])
def test_evaluation_sums_what_is_there_and_changes_nothing(padding):
    step = made_step()
    before = step.model.get_weights()
    _, losses, correct = regression(*before)
    sums = step.evaluate(padded(padding)).numpy()
    assert sums == pytest.approx([losses.sum(), correct.sum(), len(LABELS)])
    for old, new in zip(before, step.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_gradient_that_is_no_number_is_told_and_moves_nothing():
    step = made_step(tfwd.SGD(learning_rate=RATE))
    before = step.model.get_weights()
    assert step.train(padded(np.nan)).numpy()[1] == 1
    for old, new in zip(before, step.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_device_finishes_for_training_and_for_evaluation():
    seen = []

    def finish(batch, training):
        seen.append(training)
        return batch._replace(inputs=2 * batch.inputs)

    step = made_step(tfwd.SGD(learning_rate=0.0), finish)
    batch = padded(0.0)
    halves = batch._replace(inputs=batch.inputs / 2)
    _, losses, _ = regression(*step.model.get_weights())
    assert step.train(halves).numpy()[0] == pytest.approx(losses.mean())
    assert step.evaluate(halves).numpy()[0] == pytest.approx(losses.sum())
    assert seen == [True, False]
