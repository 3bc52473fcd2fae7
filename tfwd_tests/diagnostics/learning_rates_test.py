"""Rates by hand; what an effective one is for is another file's matter."""

import keras
import numpy as np
import pytest

from tfwd.diagnostics import learning_rates


@pytest.mark.parametrize(
    "kernel",
    [
        lambda: np.array([[3.0], [-4.0]]),
        lambda: keras.Variable(np.array([[3.0, -4.0]]), dtype="float32"),
        lambda: keras.ops.convert_to_tensor([[[3.0]], [[-4.0]]], "bfloat16"),
    ],
    ids=["array", "variable", "tensor"],
)
def test_effective_rate_of_a_kernel_of_norm_5_is_a_25th(kernel):
    assert learning_rates.weight_norm(kernel()) == 5.0
    assert learning_rates.effective_learning_rate(0.5, kernel()) == 0.02


def test_norm_does_not_overflow_in_half_precision():
    # A single square is 90,000, above float16's largest number of 65,504.
    kernel = np.full((3, 3, 4, 100), 300.0, "float16")
    assert learning_rates.weight_norm(kernel) == pytest.approx(300 * 60)


def test_effective_rate_of_a_kernel_of_zeros_is_infinite():
    rate = learning_rates.effective_learning_rate(0.1, np.zeros((2, 3)))
    assert rate == float("inf")


def test_default_setting_of_the_paper_forgets_in_20_000_steps():
    # Xie et al. 2022: η = 0.1, λ = 5e-4.
    share = learning_rates.intrinsic_learning_rate(0.1, 5e-4)
    assert share == pytest.approx(5e-5)
    assert learning_rates.expected_steps(0.1, 5e-4) == pytest.approx(20_000)


@pytest.mark.parametrize("pair", [(0.0, 5e-4), (0.1, 0.0)])
def test_without_rate_or_decay_nothing_is_ever_forgotten(pair):
    assert learning_rates.intrinsic_learning_rate(*pair) == 0
    assert learning_rates.expected_steps(*pair) == float("inf")


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (
            learning_rates.effective_learning_rate,
            (-0.1, np.ones(2)),
            r"`learning_rate` must be .* Received: learning_rate=-0.1$",
        ),
        (
            learning_rates.intrinsic_learning_rate,
            (float("nan"), 0.1),
            r"`learning_rate` must be .* Received: learning_rate=nan$",
        ),
        (
            learning_rates.expected_steps,
            (0.1, -1),
            r"`weight_decay` must be .* Received: weight_decay=-1$",
        ),
    ],
)
def test_senseless_values_are_refused_with_the_rule(
    function, arguments, message
):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
