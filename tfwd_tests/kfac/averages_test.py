"""Terms of the averages of the factors, against averages of numbers."""

import numpy as np
import pytest
from keras import ops

from tfwd.kfac import averages

VALUES = (3.0, -1.0, 4.0, 1.0, -5.0, 9.0)


def added(average, term, value):
    decay, share = map(ops.convert_to_numpy, (term.decay, term.share))
    return decay * average + share * value


def test_terms_of_a_pass_make_the_plain_average():
    average = 0.0
    for count, value in enumerate(VALUES):
        average = added(average, averages.plain(float(count), count), value)
    assert average == pytest.approx(np.mean(VALUES), rel=1e-12)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_batches_of_a_step_enter_a_moving_average_as_their_mean(parts):
    average = expected = 0.0
    for step, values in enumerate(np.reshape(VALUES, (-1, parts))):
        for part, value in enumerate(values):
            term = averages.moving(0.75, step, part, parts, "float32")
            average = added(average, term, value)
        expected = 0.75 * expected + 0.25 * np.mean(values)
    # A rounding of float32 per batch.
    assert average == pytest.approx(expected, rel=1e-6)
