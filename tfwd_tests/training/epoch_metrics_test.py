"""Norm, penalty, perplexity and speed, on numbers done by hand."""

import math
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfwd import data
from tfwd.training.loop import epoch_metrics


@pytest.fixture
def variables():
    return [keras.Variable([[3.0, 0.0]]), keras.Variable([4.0])]


def test_weight_norm_is_the_norm_of_all_variables_together(variables):
    assert epoch_metrics.weight_norm(variables) == 5.0


def test_penalty_is_half_the_weighted_sum_of_squares(variables):
    # (0.2 * 9 + 0.1 * 16) / 2
    assert epoch_metrics.penalty(variables, [0.2, 0.1]) == pytest.approx(1.7)
    assert epoch_metrics.penalty(variables, [0.0, 1.0]) == 8.0


def test_images_have_loss_and_accuracy_and_a_text_perplexity_too():
    columns = {"test_loss": math.log(8), "test_accuracy": 0.5}
    found = epoch_metrics.of_predictions(
        "test", math.log(8), 0.5, task="classification"
    )
    assert found == columns
    found = epoch_metrics.of_predictions(
        "test", math.log(8), 0.5, task="language_model"
    )
    assert found == columns | {"test_perplexity": pytest.approx(8)}


def test_perplexity_that_no_float_can_hold_is_infinite():
    found = epoch_metrics.of_predictions(
        "train", 1e4, 0.0, task="language_model"
    )
    assert found["train_perplexity"] == math.inf


def test_input_speed_counts_the_examples_after_the_first_batch(monkeypatch):
    # The clock of a pipeline that gives a batch of 6 every 2 seconds.
    monkeypatch.setattr(time, "perf_counter", iter(range(0, 99, 2)).__next__)
    batch = data.Batch(*(np.zeros((6, 1), np.int32) for _ in range(4)))
    batches = tf.data.Dataset.from_tensors(batch).repeat(5)
    # Two of them, and the time is looked at once more.
    assert epoch_metrics.input_speed(batches, seconds=3) == pytest.approx(
        12 / 6
    )


def test_input_speed_ends_with_the_batches():
    batch = data.Batch(*(np.zeros((6, 1), np.int32) for _ in range(4)))
    batches = tf.data.Dataset.from_tensors(batch).repeat(3)
    assert epoch_metrics.input_speed(batches, seconds=1e6) > 0
