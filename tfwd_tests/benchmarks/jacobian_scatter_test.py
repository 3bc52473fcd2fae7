"""The networks of the scatter are valid runs, its correlations are right."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("The benchmark is TensorFlow's", allow_module_level=True)

from tfwd.training.config import flagfile
from tfwd.training.setup import optimization as optimizer_lib
from tfwd_tests.benchmarks import jacobian_scatter as scatter


@pytest.mark.parametrize("name", scatter.NETWORKS)
def test_every_network_is_a_valid_run(name, tmp_path):
    settings = flagfile.parse(scatter.arguments(name, tmp_path, "data"))
    optimizer_lib.check(settings)
    assert (settings.model.hidden_layers, settings.model.hidden_units) == tuple(
        map(int, name.split("-")[0].split("x"))
    )
    assert settings.optimizer.optimizer == name.split("-")[1]
    assert not settings.model.batch_norm


def test_correlations_are_those_of_logarithms_and_of_ranks():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    rows = np.stack([x, x, x**2, 1 / x, np.exp(x), x[::-1]], axis=1)
    found = scatter.correlations(rows)
    np.testing.assert_allclose(found["jacobian", "kfac_gn"], (1, 1))
    np.testing.assert_allclose(found["jacobian", "exact_gn"], (-1, -1))
    np.testing.assert_allclose(found["jacobian", "gap"], (-1, -1))
    # exp is monotone, and no power: log y = x against log x.
    logs, ranks = found["fisher_rao", "gap"]
    assert ranks == pytest.approx(-1) and -0.99 < logs < -0.9
