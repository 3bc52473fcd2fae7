"""K-FAC's arguments: one frozen configuration behind every attribute."""

import dataclasses
import inspect

import keras
import pytest

import tfwd
from tfwd.kfac import configuration
from tfwd_tests.kfac import training

OTHERS = {
    "curvature": "empirical",
    "damping_mode": "eigen",
    "momentum": 0.5,
    "factor_decay": 0.5,
    "factor_every": 3,
    "inverse_every": 7,
    "kl_clip": 0.25,
    "stagger_inverses": True,
    "curvature_scale": 2.0,
    "estimation": "exact",
    "on_unsupported": "sgd",
    "update_order": "authors",
    "seed": 4,
}


def test_every_argument_of_the_constructor_is_in_the_configuration():
    """Beside those that hold variables, and in the order of the config."""
    parameters = inspect.signature(tfwd.KFAC).parameters.values()
    own = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert tuple(own) == tfwd.KFAC.hyperparameters
    assert {*own} - {"damping"} == {*configuration.NAMES} == {*OTHERS}
    kfac = tfwd.KFAC(**OTHERS)
    assert dataclasses.asdict(kfac.configuration) == OTHERS
    config = kfac.get_config()
    assert [name for name in config if name in own] == own
    assert {name: config[name] for name in OTHERS} == OTHERS


def test_a_configuration_cannot_be_changed():
    kfac = tfwd.KFAC()
    with pytest.raises(dataclasses.FrozenInstanceError):
        kfac.configuration.momentum = 0.5


@pytest.mark.parametrize("name", OTHERS)
def test_an_argument_set_before_build_is_heeded(name):
    kfac = tfwd.KFAC()
    setattr(kfac, name, OTHERS[name])
    assert getattr(kfac, name) == OTHERS[name]
    assert kfac.get_config()[name] == OTHERS[name]
    others = {n: v for n, v in kfac.get_config().items() if n != name}
    plain = tfwd.KFAC(name=kfac.name).get_config()
    assert others == {n: v for n, v in plain.items() if n != name}


def test_an_argument_set_before_build_is_checked():
    kfac = tfwd.KFAC()
    with pytest.raises(ValueError, match=r"^`factor_every` must be an integer"):
        kfac.factor_every = 0
    assert kfac.factor_every == 10


def test_an_argument_is_fixed_by_build():
    model, kfac = training.mlp(), tfwd.KFAC()
    kfac.attach(model, keras.losses.CategoricalCrossentropy(from_logits=True))
    kfac.build(model.trainable_variables)
    before = kfac.configuration
    for name, value in OTHERS.items():
        with pytest.raises(ValueError, match=f"^`{name}` must not change"):
            setattr(kfac, name, value)
    assert kfac.configuration is before


def test_an_unknown_attribute_is_an_attribute_error():
    assert not hasattr(tfwd.KFAC(), "factor_decays")
