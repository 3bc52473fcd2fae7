"""The smoothed loss is Keras' and NumPy's; what is reported is not smoothed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd import data
from tfwd import train
from tfwd.training.loop import kfac_work
from tfwd.training.loop import label_smoothing
from tfwd.training.loop import step as step_lib
from tfwd_tests.training import looping
from tfwd_tests.training import runs

RANDOM = np.random.default_rng(3)
RATE, SMOOTHING = 0.5, 0.2
TINY = ("--epochs=1", "--hidden_units=4", "--train_fraction=0.1")


def in_numpy(logits, labels, smoothing):
    """Losses and their gradients in the logits, of targets written out."""
    classes = logits.shape[-1]
    targets = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -(targets * log_p).sum(-1), np.exp(log_p) - targets


@pytest.mark.parametrize("shape", [(7,), (2, 3)], ids=["images", "a text"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_smoothed_losses_are_those_of_keras_and_of_numpy(shape, smoothing):
    logits = RANDOM.normal(0, 3, (*shape, 5)).astype(np.float32)
    labels = RANDOM.integers(5, size=shape)
    losses = keras.ops.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )
    found = label_smoothing.smoothed(losses, tf.constant(logits), smoothing)
    of_keras = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction=None
    )(keras.ops.one_hot(labels, 5), logits)
    np.testing.assert_allclose(found, of_keras, rtol=1e-5)
    expected, _ = in_numpy(logits.astype(np.float64), labels, smoothing)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def made_step():
    model = keras.Sequential(
        [keras.Input((looping.FEATURES,)), keras.layers.Dense(looping.CLASSES)]
    )
    optimizer = tfwd.SGD(learning_rate=RATE, momentum=0.0)
    optimizer.build(model.trainable_variables)
    return step_lib.Step(
        model, optimizer, curvature=kfac_work.NoWork(), smoothing=SMOOTHING
    )


def padded():
    """All examples with the weight of their mean, and rows of padding."""
    count = looping.EXAMPLES
    images = np.pad(looping.IMAGES, ((0, 2), (0, 0)), constant_values=-1e30)
    return data.Batch(
        tf.constant(images),
        tf.constant(np.append(looping.LABELS, [0, 1]), tf.int32),
        tf.constant([1 / count] * count + [0] * 2, tf.float32),
        tf.zeros(count + 2, tf.uint32),
    )


def test_step_minimizes_the_smoothed_loss_and_reports_the_plain_one():
    step = made_step()
    kernel, bias = step.model.get_weights()
    logits = looping.IMAGES.astype(np.float64) @ kernel + bias
    smooth, errors = in_numpy(logits, looping.LABELS, SMOOTHING)
    plain, _ = in_numpy(logits, looping.LABELS, 0.0)
    found = step.evaluate(padded()).numpy()
    assert found[0] == pytest.approx(plain.sum(), rel=1e-5)
    loss, _, losses, *_ = step.train(padded()).numpy()
    assert loss == pytest.approx(smooth.mean(), rel=1e-5)
    assert losses == pytest.approx(plain.sum(), rel=1e-5)
    np.testing.assert_allclose(
        step.model.get_weights()[0],
        kernel - RATE * looping.IMAGES.T @ errors / looping.EXAMPLES,
        atol=1e-6,
    )


def test_kfac_takes_the_fisher_matrix_that_has_no_labels():
    found = []
    for smoothing in (0.0, 0.5):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(3, name="logits")]
        )
        model.set_weights([np.eye(4, 3), np.zeros(3)])
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=smoothing
        )
        optimizer = tfwd.KFAC(0.1, damping=0.1)
        optimizer.attach(model, loss)
        optimizer.build(model.trainable_variables)
        optimizer.update_factors(looping.IMAGES)
        found.append(optimizer.factors()["logits"])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("optimizer", ["sgds", "kfac"])
def test_binary_trains_by_it_and_resumes(optimizer, tmp_path):
    arguments = [*TINY, *runs.OPTIMIZERS[optimizer], "--label_smoothing=0.3"]
    folder = tmp_path / "a"
    assert train.main([*arguments, f"--output_dir={folder}"]) == 0
    assert "--label_smoothing=0.3" in (folder / "flags.txt").read_text()
    plain = tmp_path / "b"
    assert train.main([*arguments[:-1], f"--output_dir={plain}"]) == 0
    smooth, exact = (runs.rows(each)[0] for each in (folder, plain))
    assert smooth["test_loss"] != exact["test_loss"]
    assert train.main([*arguments, "--epochs=2", f"--output_dir={folder}"]) == 0
    assert len(runs.rows(folder)) == 2
