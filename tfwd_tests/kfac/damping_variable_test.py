"""The damping is set between compiled steps, saved, and looked at in a step.

Covers `damped`.
"""

import keras
import numpy as np
import pytest

import tfwd
from tfwd_tests.kfac import training
from tfwd_tests.optimizers import harness

MODES = ("factored", "eigen")


def trained(**arguments):
    model = training.compiled(
        **{"factor_every": 1, "inverse_every": 1, "momentum": 0.0, **arguments}
    )
    x, y = training.examples(training.BATCH)
    training.step(model, x, y)
    return model, x, y


@pytest.mark.parametrize("damping_mode", MODES)
def test_a_damping_that_is_set_is_that_of_the_next_compiled_step(damping_mode):
    """With a huge one the step is η/λ V, that of SGD."""
    model, x, y = trained(damping_mode=damping_mode, weight_decay=0.0)
    model.optimizer.damping = 1e8
    model.optimizer.learning_rate = 1e7
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    before = model.get_weights()
    plain.compile(keras.optimizers.SGD(0.1), training.cross_entropy())
    for each in (model, plain):
        training.step(each, x, y)
    for one, other, old in zip(
        model.get_weights(), plain.get_weights(), before, strict=True
    ):
        # In mode "factored" a factor counts for 1e-4 of its damping.
        np.testing.assert_allclose(
            one, other, rtol=0, atol=2e-3 * np.abs(other - old).max()
        )


def test_a_model_goes_on_with_the_damping_that_was_set(tmp_path):
    model, x, y = trained()
    model.optimizer.damping = 10.0
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    tfwd.attach(loaded)
    assert loaded.optimizer.get_config()["damping"] == 10.0
    for each in (model, loaded):
        training.step(each, x, y)
    assert training.error(loaded, model) == 0


def test_a_file_without_the_variable_loads_with_all_the_others():
    """As files were written while the damping stood in the config alone."""
    model, *_ = trained(damping=0.5)
    optimizer = model.optimizer
    values = [
        np.asarray(keras.ops.convert_to_numpy(v))
        for v in optimizer.variables
        if v.name != "damping"
    ]
    assert len(values) == len(optimizer.variables) - 1
    other, *_ = trained(damping=0.5, seed=7)
    other.optimizer.load_own_variables(
        {str(i): value for i, value in enumerate(values)}
    )
    for one, two in zip(
        other.optimizer.variables, optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(two)
        )


class Table(keras.optimizers.schedules.LearningRateSchedule):
    """One value per step. (Keras' own adds 0 times the other values up.)"""

    def __init__(self, *values):
        self.values = values

    def __call__(self, step):
        values = keras.ops.convert_to_tensor(self.values, "float32")
        return keras.ops.take(values, keras.ops.cast(step, "int32"))

    def get_config(self):
        return {"values": self.values}


@pytest.mark.parametrize("damping_mode", MODES)
@pytest.mark.parametrize("bad", [float("nan"), -1.0, 0.0, float("inf")])
@pytest.mark.filterwarnings("ignore:.*an inversion failed for good:UserWarning")
@pytest.mark.filterwarnings("ignore:.*was skipped:UserWarning")
def test_a_step_whose_scheduled_damping_is_no_damping_is_skipped(
    damping_mode, bad
):
    model, x, y = trained(
        damping_mode=damping_mode, damping=Table(0.1, bad, 0.1)
    )
    before = model.get_weights()
    training.step(model, x, y)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(model.optimizer.skipped_steps) == 1
    training.step(model, x, y)
    assert int(model.optimizer.skipped_steps) == 1
    for one, other in zip(model.get_weights(), before, strict=True):
        assert np.isfinite(one).all()
        assert (one != other).any()


def test_a_scheduled_damping_cannot_be_set():
    optimizer = tfwd.KFAC(damping=Table(0.1, 0.2))
    with pytest.raises(TypeError, match="`damping` must not be set"):
        optimizer.damping = 0.3


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), "0.1"])
def test_a_damping_that_is_set_is_checked(value):
    with pytest.raises(ValueError, match="`damping` must be in"):
        tfwd.KFAC().damping = value


@pytest.mark.parametrize("name", ["kl_clip", "factor_every", "momentum"])
def test_what_a_built_step_is_made_of_cannot_be_set(name):
    model, *_ = trained()
    with pytest.raises(ValueError, match=f"`{name}` must not change"):
        setattr(model.optimizer, name, 1)


def test_a_float64_damping_keeps_its_digits():
    with harness.float64():
        optimizer = tfwd.KFAC(damping=0.1)
        assert float(optimizer.damping_now()) == 0.1
        assert optimizer.get_config()["damping"] == 0.1
    assert tfwd.KFAC(damping=0.1).get_config()["damping"] == 0.1
