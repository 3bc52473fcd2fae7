"""One replica's batch is bad: both skip the step, in loops and in `fit`."""

import contextlib
import functools

import keras
import numpy as np
import pytest

from tfwd_tests.kfac import training
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import mirrored_fit
from tfwd_tests.optimizers import replicas
from tfwd_tests.optimizers import table
from tfwd_tests.optimizers import transforms

BAD_STEP = 3
ROW = table.Row("AdamS", "adam")


def copies(variable):
    """Returns the value of a variable on each replica."""
    local = replicas.strategy().experimental_local_results(variable.value)
    return [copy.numpy() for copy in local]


def spoil_second_replica(both, value=np.nan, step=BAD_STEP):
    """Makes one number of the second replica's gradients not finite."""
    both[step][1][1].flat[2] = value
    return both


def recording(make):
    """Returns a maker that keeps what it made, in `made`."""

    def maker():
        maker.made = make()
        return maker.made

    return maker


def assert_equal(actual, expected):
    for one, other in zip(*actual, strict=True):
        np.testing.assert_array_equal(one, other)
    assert harness.relative_error(actual[0], expected) <= 1e-6


@pytest.fixture(params=[True, False], ids=["merge_call", "no_merge_call"])
def merge_call(request, monkeypatch):
    """Without merge_call as on TPUs and on several GPUs under XLA."""
    if not request.param:
        monkeypatch.setattr(
            replicas.strategy().extended, "_use_merge_call", lambda: False
        )


CLIPS = [("loss_scale_factor", 1.0, lambda step, _: step), *transforms.CLIPS]


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip[0])
def test_bad_gradient_of_one_replica_skips_the_step_on_both(clip, merge_call):
    name, bound, function = clip
    theta, gradients = harness.random_problem(7)
    make = recording(functools.partial(ROW.make, "stable", **{name: bound}))
    both = spoil_second_replica(replicas.split(gradients), np.inf)
    actual = replicas.apply_all(make, theta, both)
    clipped = [function(step, bound) for step in gradients]
    clipped[BAD_STEP] = [None] * len(theta)
    assert_equal(actual, ROW.expected("stable", theta, clipped))
    assert copies(make.made.skipped_steps) == [1, 1]


def test_bad_batch_of_one_replica_spoils_one_accumulated_step(merge_call):
    theta, gradients = harness.random_problem(9)
    make = recording(
        functools.partial(ROW.make, "stable", gradient_accumulation_steps=3)
    )
    both = spoil_second_replica(replicas.split(gradients))
    actual = replicas.apply_all(make, theta, both)
    means = transforms.means_of_three(gradients)
    means[1] = [None] * len(theta)
    assert_equal(actual, ROW.expected("stable", theta, means))
    assert copies(make.made.skipped_steps) == [1, 1]


def test_averages_leave_out_a_step_that_one_replica_spoils(merge_call):
    """One device skips the step as well, which has a test of its own."""
    make = recording(
        functools.partial(
            ROW.make,
            "stable",
            use_ema=True,
            ema_momentum=0.5,
            ema_overwrite_frequency=2,
        )
    )
    theta, gradients = harness.random_problem(6)
    both = spoil_second_replica(replicas.split(gradients))
    actual = replicas.apply_all(make, theta, both)
    assert copies(make.made.skipped_steps) == [1, 1]
    gradients[BAD_STEP][1].flat[2] = np.nan
    single = harness.apply_all(make(), harness.make_variables(theta), gradients)
    assert_equal(actual, single)


def test_bad_row_of_an_embedding_on_one_replica_skips_the_step():
    generator = np.random.default_rng(0)
    theta = [generator.normal(size=(6, 3)), generator.normal(size=(4,))]
    ids = np.array([[0, 2, 2], [2, 5, 0]])
    steps, dense = [], []
    for step in range(5):
        rows = generator.normal(size=(2, 3, 3))
        other = generator.normal(size=(2, 4))
        summed = np.zeros((6, 3))
        np.add.at(summed, ids.reshape(-1), rows.reshape(-1, 3))
        dense.append([summed, other.sum(0)])
        if step == BAD_STEP:
            rows[1, 2, 0] = np.nan
            dense[-1] = [None, None]
        steps.append(tuple([(ids[r], rows[r]), other[r]] for r in range(2)))
    make = recording(functools.partial(ROW.make, "stable"))
    actual = replicas.apply_all(make, theta, steps, as_slices=(0,))
    assert_equal(actual, ROW.expected("stable", theta, dense))
    assert copies(make.made.skipped_steps) == [1, 1]


def test_fit_skips_the_batch_that_is_bad_on_one_replica():
    x, y = mirrored_fit.examples(12)
    x[7] = np.nan  # The second batch is of rows 4 to 7, two per replica.
    model = mirrored_fit.mirrored()
    with pytest.warns(UserWarning, match="skipped 1 step"):
        actual = mirrored_fit.fit(model, x, y, 4)
    good = x[:4].mean(0) + x[8:].mean(0)
    expected = np.array([1.0, -2.0]) - 0.5 * good
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert copies(model.optimizer.skipped_steps) == [1, 1]


@pytest.mark.parametrize(
    ("row", "skipped", "scale"), [(7, 1, 1024.0), (4, 0, 512.0)]
)
def test_keras_315_lowers_the_loss_scale_for_the_first_replica_alone(
    row, skipped, scale
):
    """Rows 4 and 5 are the first replica's: there Keras skips, and halves."""
    x, y = mirrored_fit.examples(12)
    x[row] = np.inf
    sgd = mirrored_fit.plain_sgd
    model = mirrored_fit.mirrored(
        lambda: keras.optimizers.LossScaleOptimizer(sgd(), 1024.0)
    )
    warns = pytest.warns(UserWarning, match="skipped 1 step")
    with warns if skipped else contextlib.nullcontext():
        actual = mirrored_fit.fit(model, x, y, 4)
    good = x[:4].mean(0) + x[8:].mean(0)
    expected = np.array([1.0, -2.0]) - 0.5 * good
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    inner = model.optimizer.inner_optimizer
    assert copies(inner.skipped_steps) == [skipped] * 2
    assert copies(model.optimizer.dynamic_scale) == [scale] * 2


@pytest.mark.many
def test_fit_with_kfac_skips_the_batch_that_is_bad_on_one_replica():
    x, y = (np.split(array, 4) for array in training.examples(64))
    with replicas.strategy().scope():
        model = training.compiled(factor_every=2)
    for batch in (0, 1):
        training.step(model, x[batch], y[batch])
    weights = model.get_weights()
    bad = x[2].copy()
    bad[-1] = np.nan
    with pytest.warns(UserWarning, match="dropped_statistics"):
        training.step(model, bad, y[2])
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert copies(model.optimizer.skipped_steps) == [1, 1]
    assert model.optimizer.events()["skipped_steps"] == 1
    training.step(model, x[3], y[3])
    assert np.all(np.isfinite(model.get_weights()[0]))
    assert training.error(model, weights) > 0
