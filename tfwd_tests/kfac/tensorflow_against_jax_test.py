"""TensorFlow and JAX train alike."""

import os
import subprocess
import sys

import numpy as np

from tfwd_tests.kfac import other_backend
from tfwd_tests.kfac import training


def test_weights_and_factors_after_thirty_steps_agree(tmp_path):
    path = tmp_path / "jax.npz"
    program = [sys.executable, "-m", other_backend.__name__, str(path)]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    with subprocess.Popen(program, env=environment) as process:
        here = other_backend.results()
    assert process.returncode == 0
    with np.load(path) as there:
        assert set(there.files) == set(here)
        errors = {k: training.error([here[k]], [there[k]]) for k in here}
    assert max(errors.values()) <= 1e-4, errors
