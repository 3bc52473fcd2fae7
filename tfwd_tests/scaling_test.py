"""Scaling rules against published numbers and what they must leave alone."""

import math

import numpy as np
import pytest

from tfwd import scaling


def test_rule_1_multiplies_the_rate_by_the_ratio_of_batches():
    assert scaling.linear_scaling(1e-3, 16384, 128) == pytest.approx(0.128)


def test_square_root_rule_applied_twice_is_rule_1():
    once = scaling.square_root_scaling(0.1, 640, 128)
    twice = scaling.square_root_scaling(once, 640, 128)
    assert twice == pytest.approx(scaling.linear_scaling(0.1, 640, 128))
    assert once == pytest.approx(0.1 * 5**0.5)


def test_rule_2_gives_the_published_decay_of_the_large_batch():
    # Xie et al. 2022, Fig. 3: 1e-4 at batch 128, 0.0128 at batch 16384.
    assert scaling.weight_decay_scaling(1e-4, 16384, 128) == pytest.approx(
        0.0128
    )


@pytest.mark.parametrize(
    "rule",
    [
        scaling.linear_scaling,
        scaling.square_root_scaling,
        scaling.weight_decay_scaling,
    ],
)
def test_a_batch_rule_leaves_the_base_setting_alone(rule):
    assert rule(0.1, 96, 96) == 0.1
    assert rule(rule(0.1, 96, 32), 32, 96) == pytest.approx(0.1)


def test_epochs_scaling_keeps_the_product_with_the_epochs():
    # Xie et al. 2022, Fig. 2: 0.1 / lambda epochs, so 5e-4 with 200.
    assert scaling.epochs_scaling(5e-4, 1000, 200) == pytest.approx(1e-4)
    assert scaling.epochs_scaling(5e-4, 100, 200) * 100 == pytest.approx(0.1)


def test_normalized_decay_is_its_norm_when_the_whole_run_is_one_batch():
    assert scaling.normalized_weight_decay(0.025, 50_000, 50_000, 1) == 0.025


def test_normalized_decay_falls_with_the_root_of_the_number_of_steps():
    steps = 50_000 / 128 * 100
    assert scaling.normalized_weight_decay(
        0.05, 128, 50_000, 100
    ) == pytest.approx(0.05 / math.sqrt(steps))


def test_the_summed_loss_and_the_mean_loss_share_their_minimum():
    # Least squares of n rows: ½‖Xθ−y‖² + ½λ‖θ‖² against its n-th part, whose
    # gradients at the minimum of the first must both vanish.
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(30, 4)), generator.normal(size=30)
    theta = np.linalg.solve(x.T @ x + 3.0 * np.eye(4), x.T @ y)
    decay = scaling.from_summed_loss(3.0, 30)
    gradient = x.T @ (x @ theta - y) / 30 + decay * theta
    np.testing.assert_allclose(gradient, 0, atol=1e-15)


def test_keras_l2_has_the_gradient_of_our_coefficient():
    import keras

    theta = np.array([3.0, -4.0], "float32")
    penalty = float(keras.regularizers.L2(scaling.to_keras_l2(0.02))(theta))
    assert penalty == pytest.approx(0.5 * 0.02 * 25, rel=1e-6)
    assert scaling.from_keras_l2(scaling.to_keras_l2(5e-4)) == 5e-4


def test_the_paper_s_tuned_sgdw_decay_is_ten_times_its_sgds_decay():
    # Xie et al. 2022: 5e-4 for SGDS, 5e-3 for SGDW, at momentum 0.9.
    assert scaling.decoupled_from_stable(5e-4, 0.9) == pytest.approx(5e-3)


def test_stable_decay_is_decoupled_decay_when_momentum_is_an_average():
    assert scaling.decoupled_from_stable(
        5e-4, momentum=0.9, dampening=0.9
    ) == pytest.approx(5e-4)


@pytest.mark.parametrize(
    ("rule", "arguments", "message"),
    [
        (
            scaling.linear_scaling,
            (-0.1, 128, 128),
            r"`learning_rate` must be .* Received: learning_rate=-0.1$",
        ),
        (
            scaling.square_root_scaling,
            (0.1, 0, 128),
            r"`batch_size` must be .* Received: batch_size=0$",
        ),
        (
            scaling.weight_decay_scaling,
            (0.1, 128, -1),
            r"`base_batch_size` must be .* Received: base_batch_size=-1$",
        ),
        (
            scaling.epochs_scaling,
            (0.1, 0, 200),
            r"`epochs` must be .* Received: epochs=0$",
        ),
        (
            scaling.normalized_weight_decay,
            (0.1, 128, 0, 100),
            r"`num_examples` must be .* Received: num_examples=0$",
        ),
        (
            scaling.from_summed_loss,
            (float("inf"), 100),
            r"`weight_decay` must be .* Received: weight_decay=inf$",
        ),
        (
            scaling.from_keras_l2,
            (-1,),
            r"`l2` must be .* Received: l2=-1$",
        ),
        (
            scaling.to_keras_l2,
            (-1,),
            r"`weight_decay` must be .* Received: weight_decay=-1$",
        ),
        (
            scaling.decoupled_from_stable,
            (5e-4, 1.0),
            r"`momentum` must be .* Received: momentum=1.0$",
        ),
        (
            scaling.decoupled_from_stable,
            (5e-4, 0.9, 1.5),
            r"`dampening` must be .* Received: dampening=1.5$",
        ),
    ],
)
def test_senseless_values_are_refused_with_the_rule(rule, arguments, message):
    with pytest.raises(ValueError, match=message):
        rule(*arguments)
