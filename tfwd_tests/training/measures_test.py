"""The norm of the weights and the penalty, on numbers done by hand."""

import keras
import pytest

from tfwd.training import measures


@pytest.fixture
def variables():
    return [keras.Variable([[3.0, 0.0]]), keras.Variable([4.0])]


def test_weight_norm_is_the_norm_of_all_variables_together(variables):
    assert measures.weight_norm(variables) == 5.0


def test_penalty_is_half_the_weighted_sum_of_squares(variables):
    # (0.2 * 9 + 0.1 * 16) / 2
    assert measures.penalty(variables, [0.2, 0.1]) == pytest.approx(1.7)
    assert measures.penalty(variables, [0.0, 1.0]) == 8.0
