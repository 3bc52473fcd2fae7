"""Beside a factor that is a number, damping of the factors is exact."""

import keras
import numpy as np
import pytest
from keras import ops

import tfwd
from tfwd.kfac import damping as damping_lib
from tfwd.kfac import inverses
from tfwd_tests.kfac import models

DAMPING = 0.1


def dense_of(units, inputs, bias):
    return keras.Sequential(
        [keras.Input((inputs,)), keras.layers.Dense(units, use_bias=bias)]
    )


def step_of(mode, units, inputs, bias):
    """Returns how a step of damped K-FAC moves the weights, float64."""
    generator = np.random.default_rng(0)
    with models.float64():
        keras.utils.set_random_seed(0)
        model = dense_of(units, inputs, bias)
        x = generator.normal(size=(32, inputs))
        gradients = [generator.normal(size=w.shape) for w in model.weights]
        optimizer = tfwd.KFAC(
            1.0, damping=DAMPING, damping_mode=mode, estimation="exact"
        )
        optimizer.attach(model, keras.losses.MeanSquaredError())
        optimizer.update_factors(ops.convert_to_tensor(x))
        optimizer.update_inverses()
        before = model.get_weights()
        optimizer.apply(
            [ops.convert_to_tensor(g) for g in gradients],
            model.trainable_variables,
        )
        return [b - a for a, b in zip(model.get_weights(), before, strict=True)]


SIZES = [(1, 5, True), (1, 5, False), (4, 1, False), (1, 1, False)]


@pytest.mark.parametrize(("units", "inputs", "bias"), SIZES)
def test_damping_of_the_factors_is_that_of_the_eigenvalues(units, inputs, bias):
    factored, eigen = (
        step_of(mode, units, inputs, bias) for mode in ("factored", "eigen")
    )
    for one, other in zip(factored, eigen, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize(
    "shapes", [((3, 4, 4), (3, 1, 1)), ((3, 1, 1), (3, 4, 4))]
)
def test_each_group_of_channels_has_its_own(shapes):
    """The product of the inverses is (A ⊗ G + λI)⁻¹, by numpy."""
    generator = np.random.default_rng(1)
    factors = [generator.normal(size=s) for s in shapes]
    factors = [f @ np.swapaxes(f, -1, -2) for f in factors]
    means = [np.trace(f, axis1=1, axis2=2) / f.shape[-1] for f in factors]
    added = damping_lib.factored_damping(
        *[ops.convert_to_tensor(m, "float32") for m in means],
        [f.shape[-1] for f in factors],
        DAMPING,
    )
    added = [ops.convert_to_numpy(each) for each in added]
    for group in range(3):
        a, g = (f[group] for f in factors)
        damped = [
            np.linalg.inv(f + d[group] * np.eye(len(f)))
            for f, d in zip((a, g), added, strict=True)
        ]
        exact = np.linalg.inv(np.kron(a, g) + DAMPING * np.eye(4))
        np.testing.assert_allclose(np.kron(*damped), exact, rtol=1e-5)


def test_a_number_of_zero_leaves_the_damping_alone():
    """(A ⊗ 0 + λI)⁻¹ = 1/λ, up to the least g that counts."""
    a, g = np.diag([2.0, 3.0]), np.zeros((1, 1))
    factors = [ops.convert_to_tensor(f, "float32") for f in (a, g)]
    units = inverses.units_of([((2, 2), (1, 1))])
    results = []
    for unit in units:
        values, failed, failed_again = inverses.inverted(
            unit,
            factors,
            (False, False),
            DAMPING,
            "factored",
        )
        assert not bool(failed) and not bool(failed_again)
        results.append(ops.convert_to_numpy(values[0]).astype("float64"))
    np.testing.assert_allclose(
        results[0] * results[1][0, 0], np.eye(2) / DAMPING, rtol=1e-5
    )
