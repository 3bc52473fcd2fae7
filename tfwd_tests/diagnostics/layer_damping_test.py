"""Effective damping by hand; what it is for is another file's matter."""

import math

import numpy as np
import pytest

from tfwd.diagnostics import layer_damping


def test_effective_damping_of_a_kernel_of_norm_5_is_25_fold():
    kernel = np.array([[3.0], [-4.0]])
    assert layer_damping.effective_damping(0.01, kernel) == pytest.approx(0.25)
    assert layer_damping.effective_damping(0.0, kernel) == 0


def test_ratio_is_effective_damping_over_the_mean_eigenvalue():
    kernel = np.array([[3.0, 0.0], [0.0, -4.0]])
    eigenvalues = [0.0, 1.0, 5.0, 10.0]
    found = layer_damping.damping_ratio(
        0.08, kernel, trace=sum(eigenvalues), size=kernel.size
    )
    assert found == pytest.approx(0.08 * 25 / 4)


def test_ratio_of_a_layer_without_curvature_is_infinite():
    kernel = np.ones((2, 3))
    assert layer_damping.damping_ratio(0.1, kernel, 0.0, 6) == float("inf")
    assert math.isnan(layer_damping.damping_ratio(0.0, kernel, 0.0, 6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, np.ones(2), 1.0, 2), r"`damping` .* Received: damping=-0.1$"),
        ((0.1, np.ones(2), -1.0, 2), r"`trace` .* Received: trace=-1.0$"),
        ((0.1, np.ones(2), 1.0, 0), r"`size` .* Received: size=0$"),
    ],
)
def test_senseless_values_are_refused_with_the_rule(arguments, message):
    with pytest.raises(ValueError, match=message):
        layer_damping.damping_ratio(*arguments)
