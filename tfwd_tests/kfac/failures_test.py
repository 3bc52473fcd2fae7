"""What is not finite, and what cannot be inverted, does not spread."""

import warnings

import keras
import numpy as np
import pytest

from tfwd_tests.kfac import training


def values(tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def kinds(caught):
    """Returns the kinds of failures that were warned of."""
    warned = [str(w.message) for w in caught if w.category is UserWarning]
    return [message.split("(")[-1].split(":")[0] for message in warned]


def ready(**arguments):
    """Returns a model whose factors and inverses are there."""
    model = training.compiled(**arguments)
    x, _ = training.examples(training.BATCH)
    model.optimizer.update_factors(x)
    model.optimizer.update_inverses()
    return model


def test_batch_that_is_not_finite_enters_neither_factors_nor_weights():
    model = training.compiled()
    x, y = training.examples()
    x, y = np.split(x, 6), np.split(y, 6)
    for number in range(3):
        training.step(model, x[number], y[number])
    factors, weights = model.optimizer.factors(), model.get_weights()
    poisoned = x[3].copy()
    poisoned[5, 2] = np.nan
    # Every third step updates the factors.
    with pytest.warns(UserWarning, match="dropped_statistics: 2") as caught:
        training.step(model, poisoned, y[3])
    assert kinds(caught) == ["dropped_statistics"]
    for name, (a, g) in model.optimizer.factors().items():
        np.testing.assert_array_equal(a, factors[name][0])
        np.testing.assert_array_equal(g, factors[name][1])
    assert training.error(model, weights) == 0
    events = {"dropped_statistics": 2, "skipped_steps": 1}
    none = {"retried_inverses": 0, "kept_inverses": 0}
    assert model.optimizer.events() == events | none
    with pytest.warns(UserWarning, match="skipped_steps: 1") as caught:
        for number in (4, 5):
            training.step(model, x[number], y[number])
    assert kinds(caught) == ["skipped_steps"]
    losses = training.fit(model, epochs=3)
    assert losses[2] < losses[0]
    assert model.optimizer.events() == events | none


def test_each_kind_of_failure_is_warned_of_once():
    model = training.compiled(factor_every=1)
    x, y = training.examples(training.BATCH)
    training.step(model, x, y)
    with pytest.warns(UserWarning) as caught:
        for _ in range(3):
            training.step(model, np.inf * x, y)
    assert sorted(kinds(caught)) == ["dropped_statistics", "skipped_steps"]
    assert model.optimizer.events()["dropped_statistics"] == 6
    printed = []
    model.optimizer.summary(printed.append)
    assert printed[1].startswith("dropped_statistics: 6 (")


@pytest.mark.parametrize("mode", ["decoupled", "l2"])
def test_gradient_that_is_not_finite_moves_nothing(mode):
    model = ready(weight_decay=0.5, weight_decay_mode=mode)
    optimizer, variables = model.optimizer, model.trainable_variables
    good = [0.1 * keras.ops.ones(v.shape) for v in variables]
    optimizer.apply(good, variables)
    weights = model.get_weights()
    momentum = values(optimizer.momentums)
    assert max(np.abs(m).max() for m in momentum) > 0
    bad = [*good[:-1], keras.ops.full(variables[-1].shape, np.nan)]
    optimizer.apply(bad, variables)
    assert training.error(model, weights) == 0
    assert training.error(values(optimizer.momentums), momentum) == 0
    assert optimizer.events()["skipped_steps"] == 1
    optimizer.apply(good, variables)
    assert training.error(model, weights) > 0
    assert optimizer.events()["skipped_steps"] == 1


# In mode "factored" the damping of one factor depends on the other's trace.
@pytest.mark.parametrize(
    ("damping_mode", "kept"), [("factored", 2), ("eigen", 1)]
)
def test_inverse_that_cannot_be_computed_is_kept(damping_mode, kept):
    optimizer = ready(damping_mode=damping_mode).optimizer
    state = optimizer.curvature_state()
    before = values(state.inverses[2])
    factor = state.factors[1][0]
    factor.assign(np.full(factor.shape, np.nan, "float32"))
    optimizer.update_inverses()
    for one, other in zip(values(state.inverses[2]), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert optimizer.events()["kept_inverses"] == kept
    with pytest.warns(UserWarning, match=f"kept_inverses: {kept}"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*retried_inverses")
            optimizer.warn_of_events()


def test_block_without_statistics_does_not_move_until_it_has_some():
    model = training.compiled(weight_decay=0.0)
    optimizer, x = model.optimizer, training.examples(16)[0]
    weights = model.get_weights()
    optimizer.update_factors(np.full_like(x, np.nan))
    optimizer.update_inverses()
    gradients = [keras.ops.ones(v.shape) for v in model.trainable_variables]
    optimizer.apply(gradients, model.trainable_variables)
    # The damped inverse of a factor of zeros would have moved them by η/λ.
    assert training.error(model, weights) == 0
    assert optimizer.events()["kept_inverses"] == 4
    optimizer.update_factors(x)
    optimizer.update_inverses()
    optimizer.apply(gradients, model.trainable_variables)
    assert training.error(model, weights) > 0


def test_factor_that_is_not_positive_definite_is_damped_more():
    """A's last eigenvalue is −2d, where d = π√λ is what damps it."""
    damping = 1e-4
    optimizer = ready(damping=damping).optimizer
    state = optimizer.curvature_state()
    a, g = state.factors[0]
    n, m = a.shape[0], g.shape[0]
    d = np.sqrt(damping)
    for _ in range(50):
        diagonal = np.array([1.0] * (n - 1) + [-2 * d])
        d = np.sqrt(damping * diagonal.sum() / n)
    a.assign(np.diag(diagonal))
    g.assign(np.eye(m))
    state.weights.assign(np.ones(state.weights.shape))
    optimizer.update_inverses((0, 1))
    assert optimizer.events()["retried_inverses"] == 1
    assert optimizer.events()["kept_inverses"] == 0
    more = 10 * d + 1e-6 * diagonal.sum()
    expected = np.diag(1 / (diagonal + more))
    actual = values(state.inverses[0])
    assert training.error(actual, [expected]) <= 1e-5
