"""Equalities and theorems of the papers that tie the weight decays together."""

import keras
import numpy as np
import pytest
from keras import ops

import tfwd
from tfwd import scaling
from tfwd import schedules
from tfwd_tests.optimizers import harness
from tfwd_tests.optimizers import reference

CosineDecay = keras.optimizers.schedules.CosineDecay

STEPS = 50
WEIGHT_DECAY = 0.02
# Sums of the same few float32 terms in another order, over 50 steps.
ROUNDING = 1e-6


def steps_of(optimizer, shapes=harness.SHAPES, silent_steps=0):
    """Returns the parameters after random gradients, the first ones zero."""
    theta, gradients = harness.random_problem(STEPS, shapes=shapes)
    for step in gradients[:silent_steps]:
        step[:] = [0 * gradient for gradient in step]
    return harness.apply_all(
        optimizer, harness.make_variables(theta), gradients
    )


def step_decay():
    """Returns a rate that drops eightfold after 20 of the steps."""
    return schedules.step_decay(2.0**-5, 20, (1,), factor=0.125)


@pytest.mark.parametrize(
    "same",
    [
        lambda rate: tfwd.SGDW(rate, WEIGHT_DECAY, momentum=0.0),
        lambda rate: tfwd.SGD(rate, WEIGHT_DECAY, momentum=0.0),
    ],
    ids=["sgdw", "l2"],
)
def test_without_momentum_stable_decoupled_and_l2_decay_are_one(same):
    stable = tfwd.SGDS(step_decay(), WEIGHT_DECAY, momentum=0.0)
    assert (
        harness.relative_error(steps_of(stable), steps_of(same(step_decay())))
        <= ROUNDING
    )


@pytest.mark.parametrize("dampening", [0.0, 0.3])
def test_sgdw_with_the_decay_over_one_minus_momentum_is_sgds(dampening):
    stable = tfwd.SGDS(step_decay(), WEIGHT_DECAY, dampening=dampening)
    decoupled = tfwd.SGDW(
        step_decay(),
        scaling.decoupled_from_stable(WEIGHT_DECAY, 0.9, dampening),
        dampening=dampening,
    )
    assert (
        harness.relative_error(steps_of(stable), steps_of(decoupled))
        <= ROUNDING
    )


@pytest.mark.parametrize("silent_steps", [0, 3, STEPS])
def test_adams_without_adaptivity_is_adamw(silent_steps):
    stable = tfwd.AdamS(step_decay(), WEIGHT_DECAY, adaptivity=0.0)
    decoupled = tfwd.AdamW(step_decay(), WEIGHT_DECAY)
    results = [
        steps_of(optimizer, silent_steps=silent_steps)
        for optimizer in (stable, decoupled)
    ]
    assert harness.relative_error(*results) <= ROUNDING


def test_adais_is_adaiw():
    stable = tfwd.AdaiS(step_decay(), WEIGHT_DECAY)
    decoupled = tfwd.AdaiW(step_decay(), WEIGHT_DECAY)
    assert (
        harness.relative_error(steps_of(stable), steps_of(decoupled))
        <= ROUNDING
    )


def test_folded_momentum_is_heavy_ball_until_the_learning_rate_drops():
    def difference(rate):
        return harness.relative_error(
            steps_of(tfwd.SGD(rate, folded_learning_rate=True)),
            steps_of(tfwd.SGD(rate)),
        )

    assert difference(2.0**-5) <= ROUNDING
    assert difference(step_decay()) >= 1e-3


def test_the_mean_of_adams_weighs_elements_not_variables():
    # v̂ of the first step is g²: (13 + 3·1)/4 = 4, so s = 1/2, where the mean
    # of the two variables' means would be (13 + 1)/2 = 7.
    variables = [keras.Variable(np.zeros(n, "float32")) for n in (1, 3)]
    optimizer = tfwd.AdamS(1e-3, weight_decay=1.0)
    gradients = [[np.full(1, 13**0.5), np.array([1.0, -1.0, 1.0])]]
    harness.apply_all(optimizer, variables, gradients)
    effective = float(ops.convert_to_numpy(optimizer.effective_weight_decay))
    assert effective == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("algorithm", ["sgd", "adam"])
def test_independent_decay_on_a_schedule_is_loshchilov_and_hutter_s(algorithm):
    """Algorithms 1 and 2 of Loshchilov & Hutter 2019, α and η_t apart."""
    alpha, lam, beta_1, beta_2 = 2.0**-5, 2.0**-6, 0.9, 0.999
    multipliers = [(1 + np.cos(np.pi * t / STEPS)) / 2 for t in range(STEPS)]
    theta, gradients = harness.random_problem(STEPS)
    truth = []
    for i, x in enumerate(theta):
        m, v = np.zeros_like(x), np.zeros_like(x)
        for t, eta in enumerate(multipliers, start=1):
            g = gradients[t - 1][i]
            if algorithm == "sgd":
                m = beta_1 * m + eta * alpha * g
                x = x - m - eta * lam * x
            else:
                m = beta_1 * m + (1 - beta_1) * g
                v = beta_2 * v + (1 - beta_2) * g**2
                m_hat, v_hat = m / (1 - beta_1**t), v / (1 - beta_2**t)
                step = alpha * m_hat / (np.sqrt(v_hat) + 1e-8)
                x = x - eta * (step + lam * x)
        truth.append(x)
    cls, constants = {
        "sgd": (tfwd.SGD, {"folded_learning_rate": True}),
        "adam": (tfwd.Adam, {}),
    }[algorithm]
    optimizer = cls(
        CosineDecay(alpha, STEPS),
        weight_decay=lam,
        weight_decay_mode="independent",
        weight_decay_schedule=CosineDecay(1.0, STEPS),
        **constants,
    )
    assert harness.relative_error(steps_of(optimizer), truth) <= 2e-6


def test_l2_mode_is_keras_regularizer_of_half_the_coefficient():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(64, 5)), generator.normal(size=(64, 2))

    def trained(regularizer, optimizer):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(
                    7, activation="tanh", kernel_regularizer=regularizer
                ),
                keras.layers.Dense(2, kernel_regularizer=regularizer),
            ]
        )
        model.compile(optimizer, loss="mse")
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        return model.get_weights()

    through_loss = trained(
        keras.regularizers.L2(scaling.to_keras_l2(WEIGHT_DECAY)), tfwd.SGD(0.1)
    )
    through_optimizer = trained(
        None,
        tfwd.SGD(0.1, WEIGHT_DECAY, exclude_from_weight_decay="@bias"),
    )
    undecayed = trained(None, tfwd.SGD(0.1))
    error = harness.relative_error(through_optimizer, through_loss)
    assert error <= ROUNDING
    assert harness.relative_error(undecayed, through_loss) >= 0.01


@pytest.mark.parametrize("size", [0.0, 0.01], ids=["silent", "balanced"])
def test_a_decay_of_a_millionth_a_step_is_unbiased_in_float32(size):
    """Rounding θ errs by up to 6 % of ηλθ, but to either side alike.

    Rounding the factor 1 − ηλ errs to one side for all weights.
    """
    rate, lam, steps = 2.0**-7, 2.0**7 * 1e-6, 1000
    generator = np.random.default_rng(0)
    theta = generator.choice([-1, 1], 10_000) * generator.uniform(
        0.5, 2, 10_000
    )
    theta = np.float32(theta)
    gradient = np.float32(size / rate * generator.normal(size=10_000))
    gradients = [[gradient], [-gradient]] * (steps // 2)
    exact = reference.train(
        "sgd",
        "decoupled",
        [theta],
        gradients,
        [rate] * steps,
        [lam] * steps,
        momentum=0.0,
    )[0]

    def errors(result):
        return (np.float64(result) - exact) / (theta * rate * lam * steps)

    optimizer = tfwd.SGDW(rate, lam, momentum=0.0)
    ours = harness.apply_all(
        optimizer, harness.make_variables([theta]), gradients
    )[0]
    folded = theta.copy()
    for (g,) in gradients:
        folded = folded * np.float32(1 - rate * lam) - np.float32(rate) * g
    assert abs(errors(ours).mean()) <= 0.01
    assert abs(errors(folded).mean()) >= 0.01
