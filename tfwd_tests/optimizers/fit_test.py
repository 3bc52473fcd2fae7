"""The optimizers in `compile` and `fit`."""

import keras
import numpy as np
import pytest

from tfwd_tests import marks
from tfwd_tests.optimizers import fitting
from tfwd_tests.optimizers import harness


@pytest.mark.parametrize(
    "name", ["SGDS", "AdamS", *marks.many("AMSGradS", "AdaiS")]
)
def test_fit_gives_the_same_weights_with_and_without_xla(name):
    plain = fitting.trained(name, jit_compile=False).get_weights()
    compiled = fitting.trained(name, jit_compile=True).get_weights()
    assert harness.relative_error(compiled, plain) <= 2e-6


class SetWeightDecay(keras.callbacks.Callback):
    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.weight_decay = self.values[epoch]


def test_callback_changes_the_coefficient_of_a_running_fit():
    off = SetWeightDecay([0.0] * 4)
    without = fitting.trained("SGDS", callbacks=[off])
    with_decay = fitting.trained("SGDS")
    late = fitting.trained(
        "SGDS", callbacks=[SetWeightDecay([0.0, 0.0, 0.01, 0.01])]
    )
    norms = [
        np.linalg.norm(model.layers[0].get_weights()[0])
        for model in (with_decay, late, without)
    ]
    assert norms[0] < norms[1] < norms[2]
