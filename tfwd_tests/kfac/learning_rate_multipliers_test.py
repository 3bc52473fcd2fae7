"""K-FAC with a learning rate of its own for some variables."""

import keras
import numpy as np
import pytest
from keras import layers

import tfwd
from tfwd_tests.kfac import models
from tfwd_tests.optimizers import harness

pytestmark = pytest.mark.skipif(
    keras.backend.backend() not in ("tensorflow", "jax"),
    reason="K-FAC runs on TensorFlow and JAX.",
)
RATE = 2.0**-5
# Steps long enough that float32 holds them beside the weights to 1e-5.
LONG = {"learning_rate": 1.0}
KAPPA = 1e-3


def network():
    return models.built(
        [
            layers.Dense(7, activation="tanh", name="first"),
            layers.Dense(3, name="second"),
        ],
        (6,),
    )


def moved(steps=1, **arguments):
    """Returns the weights' changes, and the optimizer, after some steps."""
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(16, 6)), generator.integers(3, size=16)
    model = network()
    optimizer = tfwd.KFAC(
        **{"learning_rate": RATE, "damping": 0.05, "momentum": 0.0} | arguments
    )
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    optimizer.attach(model)
    before = model.get_weights()
    for _ in range(steps):
        model.train_on_batch(x, y)
    return [b - a for a, b in zip(before, model.get_weights(), strict=True)]


@pytest.mark.parametrize("kl_clip", [None, 1e-4])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_one_multiplier_for_all_is_another_learning_rate(kl_clip, momentum):
    common = {"kl_clip": kl_clip, "momentum": momentum, "weight_decay": 0.5}
    actual = moved(4, learning_rate_multipliers={".": 0.25}, **common)
    expected = moved(4, **common | {"learning_rate": RATE / 4})
    # Products of float32 scalars in another order.
    assert harness.relative_error(actual, expected) <= 1e-5


def test_the_clipped_divergence_is_that_of_the_steps_that_are_taken():
    # What is clipped is Σ ηᵢ²⟨V, U⟩; each block's is known where no other has
    # a step: there ν = √(κ/(ηᵢ²⟨V, U⟩)).
    multipliers = {"first": 0.5, "second": 2.0}
    free = moved(learning_rate_multipliers=multipliers, **LONG)
    divergences = []
    for name, other, start in (("first", "second", 0), ("second", "first", 2)):
        clipped = moved(
            learning_rate_multipliers={name: multipliers[name], other: 0.0},
            kl_clip=KAPPA,
            **LONG,
        )
        nu = np.linalg.norm(clipped[start]) / np.linalg.norm(free[start])
        assert nu < 1
        np.testing.assert_allclose(clipped[start], nu * free[start], rtol=1e-2)
        assert not np.any(clipped[2 - start])
        divergences.append(KAPPA / nu**2)
    both = moved(learning_rate_multipliers=multipliers, kl_clip=KAPPA, **LONG)
    nu = np.sqrt(KAPPA / sum(divergences))
    expected = [nu * step for step in free]
    assert harness.relative_error(both, expected) <= 1e-5


def test_a_layer_whose_variables_differ_counts_with_its_highest_factor():
    common = {"kl_clip": KAPPA, **LONG}
    slow = moved(learning_rate_multipliers={"bias": 0.25}, **common)
    plain = moved(**common)
    factors = (1, 0.25, 1, 0.25)
    expected = [f * step for f, step in zip(factors, plain, strict=True)]
    assert harness.relative_error(slow, expected) <= 1e-5


def test_a_layer_that_is_frozen_keeps_its_factors_up_to_date():
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(16, 6)), generator.integers(3, size=16)
    model = network()
    optimizer = tfwd.KFAC(RATE, learning_rate_multipliers={"first": 0.0})
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    optimizer.attach(model)
    before = model.get_weights()
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert np.any(optimizer.factors()["first"][0])
