"""The loss scale of float16: halved by overflow, doubled by patience."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd.training.checkpoint import progress as progress_lib
from tfwd.training.config import settings as settings_lib
from tfwd.training.loop import loss_scale
from tfwd.training.runs import job as job_lib
from tfwd_tests.training import looping

INITIAL = 2.0**15


@pytest.fixture
def float16():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def made_loop(strategy, optimizer=tfwd.SGDS, activation="tanh", **arguments):
    def build(model):
        made = optimizer(**arguments)
        made.build(model.trainable_variables)
        return made

    def layers():
        return [
            keras.Input((looping.FEATURES,)),
            keras.layers.Dense(5, activation=activation),
        ]

    loop = looping.made_loop(strategy, layers, build)
    if keras.config.dtype_policy().name == "mixed_float16":
        with strategy.scope():
            loop.replica_step.loss_scale = loss_scale.DynamicLossScale()
    return loop


def values(strategy, scale):
    """The scale and the good steps of every replica."""
    return [
        tuple(
            float(strategy.experimental_local_results(each.value)[replica])
            for each in scale.variables
        )
        for replica in range(strategy.num_replicas_in_sync)
    ]


def test_overflow_halves_the_scale_and_2000_good_steps_double_it():
    scale = loss_scale.DynamicLossScale()
    update = tf.function(scale.update)
    good, bad = tf.constant(False), tf.constant(True)
    for _ in range(1999):
        update(good)
    assert float(scale.scale.value) == INITIAL
    update(good)
    assert float(scale.scale.value) == 2 * INITIAL
    for _ in range(1999):
        update(good)
    update(bad)
    # The patience begins anew.
    update(good)
    assert float(scale.scale.value) == INITIAL
    assert int(scale.good_steps.value) == 1


def test_skipped_step_at_the_smallest_scale_is_nobodys_overflow():
    scale = loss_scale.DynamicLossScale()
    blamed = [bool(scale.update(tf.constant(True))) for _ in range(17)]
    assert float(scale.scale.value) == 1.0
    # 15 halvings lead from 2^15 to 1.
    assert blamed == [False] * 15 + [True] * 2
    assert not scale.update(tf.constant(False))


def test_gradients_come_back_as_they_were():
    scale = loss_scale.DynamicLossScale()
    gradients = [tf.constant([0.1, -3.0]), None]
    scaled = [scale.scaled(gradients[0]), None]
    found = scale.unscaled(scaled)
    np.testing.assert_array_equal(found[0], gradients[0])
    assert found[1] is None


@pytest.mark.parametrize("replicas", [1, 2])
def test_overflow_of_the_last_replica_skips_the_step_of_all(float16, replicas):
    images = looping.IMAGES.copy()
    # In the last row of the first batch: times the scale beyond float16's
    # 65504 in the gradient, but not in the forward pass.
    images[looping.BATCH - 1] *= 1000
    strategy = looping.mirrored(replicas)
    loop = made_loop(strategy, activation=None, learning_rate=0.1)
    model, scale = loop.replica_step.model, loop.replica_step.loss_scale
    # Probabilities near those of chance, so that every row has a gradient.
    kernel = model.layers[-1].kernel
    kernel.assign(1e-4 * kernel)
    before = model.get_weights()
    batches = looping.distributed(loop.strategy, epochs=1, images=images)
    iterator = iter(batches)
    done = loop.advance(iterator, 0, 1)
    assert done.is_finite and np.isfinite(done.loss)
    assert values(strategy, scale) == [(INITIAL / 2, 0)] * replicas
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

    loop.advance(iterator, 1, 1)
    assert values(strategy, scale) == [(INITIAL / 2, 1)] * replicas
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.all(np.isfinite(new)) and np.any(new != old)


@pytest.mark.parametrize(
    ("optimizer", "rate"), [(tfwd.SGDS, 0.1), (tfwd.AdamS, 0.02)]
)
def test_float16_reaches_the_losses_of_float32(optimizer, rate):
    losses = []
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        try:
            keras.utils.set_random_seed(3)
            loop = made_loop(
                tf.distribute.get_strategy(), optimizer, learning_rate=rate
            )
            losses.append([loss for loss, _ in looping.trained(loop, 10)])
        finally:
            keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert losses[0][-1] < 0.8 * losses[0][0]


def test_scale_is_restored_from_the_checkpoint(float16, tmp_path):
    settings = settings_lib.Settings(
        output_dir=str(tmp_path / "a"),
        dtype_policy="mixed_float16",
        hidden_units=4,
    )
    job = job_lib.prepare(settings)
    scale = job.loop.replica_step.loss_scale
    scale.scale.assign(64.0)
    scale.good_steps.assign(7)
    job.checkpoints.save(3, progress_lib.Progress(step=3, step_in_epoch=3))
    job.folder.release()
    again = job_lib.prepare(settings).loop.replica_step.loss_scale
    assert values(job.strategy, again) == [(64.0, 7)]


def test_fixed_scale_leaves_no_dynamic_one(float16, tmp_path):
    settings = settings_lib.Settings(
        output_dir=str(tmp_path / "a"),
        dtype_policy="mixed_float16",
        loss_scale_factor=128.0,
        hidden_units=4,
    )
    assert job_lib.prepare(settings).loop.replica_step.loss_scale is None
