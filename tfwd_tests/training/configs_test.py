"""The flagfiles in configs/: valid, and headed by what they are."""

import dataclasses
import pathlib

import pytest

from tfwd.optimizers import scaling
from tfwd.training import flagfile
from tfwd.training import optimizer as optimizer_lib
from tfwd.training import settings as settings_lib

ROOT = pathlib.Path(__file__).parents[2] / "configs"
CONFIGS = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.flags"))
STEPS = 391


def parsed(name):
    return flagfile.parse([f"--flagfile={ROOT / name}"])


def head(name):
    lines = (ROOT / name).read_text().splitlines()
    return " ".join(line[1:].strip() for line in lines if line[:1] == "#")


@pytest.mark.parametrize("name", CONFIGS, ids=str)
def test_config_is_valid_and_headed(name):
    settings = parsed(name)
    optimizer_lib.check(settings)
    optimizer_lib.plan(settings, STEPS).create()
    text = head(name)
    assert text.startswith("Reproduces: ")
    for word in ("Command: ", "Hardware: ", "Published: "):
        assert word in text
    assert f"python -m tfwd.train --flagfile=configs/{name}" in text


def test_default_config_writes_out_the_defaults():
    defaults = settings_lib.Settings(learning_rate=1e-3)
    assert parsed("default.flags") == defaults
    plan = optimizer_lib.plan(settings_lib.Settings(), STEPS)
    assert plan.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("name", "rate", "decay"),
    [
        ("adams", 1e-3, 5e-4),
        ("adamw", 1e-3, 0.5),
        ("adam", 1e-3, 5e-4),
        ("sgd", 0.1, 5e-4),
        ("sgdw", 0.1, 5e-3),
        ("sgds", 0.1, 5e-4),
    ],
)
def test_stable_weight_decay_configs_are_appendix_b1(name, rate, decay):
    settings = parsed(f"stable_weight_decay/cifar10_vgg16_{name}.flags")
    plan = optimizer_lib.plan(settings, STEPS)
    assert plan.weight_decay == decay
    for epoch, factor in ((1, 1), (80, 1), (81, 0.1), (160, 0.1), (161, 0.01)):
        first_step = (epoch - 1) * STEPS + 1
        value = optimizer_lib.value_at(plan.learning_rate, first_step)
        assert value == pytest.approx(rate * factor, rel=1e-6)
    assert settings.epochs == 200
    assert settings.augment and settings.batch_norm


@pytest.mark.parametrize(
    ("name", "rate", "decay", "clip", "damping"),
    [
        ("cifar10_vgg16_plain_kfac_f", 3e-4, 0, 1e-5, 1e-3),
        ("cifar10_vgg16_plain_kfac_f_wd", 1e-3, 1, 1e-5, 1e-3),
        ("cifar10_vgg16_plain_kfac_g", 0.03, 0, 1e-4, 1e-2),
        ("cifar10_vgg16_plain_kfac_g_wd", 0.03, 0.03, 1e-3, 1e-2),
        ("cifar10_vgg16_bn_kfac_f", 1e-3, 0, None, 1e-3),
        ("cifar10_vgg16_bn_kfac_f_wd", 3e-3, 1, None, 1e-3),
        ("cifar10_vgg16_bn_kfac_g", 0.1, 0, None, 1e-3),
        ("cifar10_vgg16_bn_kfac_g_wd", 0.03, 0.03, None, 1e-3),
        ("cifar10_vgg16_bn_augmented_kfac_f", 1e-3, 0, None, 1e-3),
        ("cifar10_vgg16_bn_augmented_kfac_f_wd", 1e-3, 0.3, None, 1e-3),
        ("cifar10_vgg16_bn_augmented_kfac_g", 0.03, 0, None, 1e-3),
        ("cifar10_vgg16_bn_augmented_kfac_g_wd", 0.03, 0.01, None, 1e-3),
        ("cifar100_vgg16_bn_augmented_kfac_f", 3e-3, 0, None, 1e-3),
        ("cifar100_vgg16_bn_augmented_kfac_f_wd", 1e-3, 1, None, 1e-3),
        ("cifar100_vgg16_bn_augmented_kfac_g", 0.1, 0, None, 1e-3),
        ("cifar100_vgg16_bn_augmented_kfac_g_wd", 0.1, 0.01, None, 1e-3),
    ],
)
def test_kfac_configs_are_those_published(name, rate, decay, clip, damping):
    settings = parsed(f"three_mechanisms/{name}.flags")
    made = optimizer_lib.plan(settings, STEPS).create().get_config()
    gauss_newton = "_kfac_g" in name
    expected = dict(
        weight_decay=decay,
        weight_decay_mode="decoupled",
        momentum=0.9,
        kl_clip=clip,
        damping=damping,
        damping_mode="factored",
        factor_decay=0.95,
        factor_every=10,
        inverse_every=100,
        curvature="gauss_newton" if gauss_newton else "fisher",
        curvature_scale=2.0 if gauss_newton else None,
        estimation="sampled",
        update_order="authors",
    )
    assert {key: made[key] for key in expected} == expected
    assert settings.learning_rate == rate
    assert settings.cold_start
    assert (settings.epochs, settings.decay_epochs) == (100, (40, 80))
    assert settings.batch_norm == ("_bn_" in name)
    assert settings.augment == ("augmented" in name)


@pytest.mark.parametrize("optimizer", ["sgd", "kfac_f", "kfac_g"])
@pytest.mark.parametrize("mechanism", ["", "_l2", "_decoupled"])
def test_narrow_configs_keep_the_values_of_the_full_ones(optimizer, mechanism):
    base = f"three_mechanisms/cifar10_vgg16_plain_{optimizer}"
    narrow = parsed(f"{base}{mechanism}_narrow.flags")
    full = parsed(f"{base}{'_wd' if mechanism else ''}.flags")
    differing = {
        field.name
        for field in dataclasses.fields(full)
        if getattr(narrow, field.name) != getattr(full, field.name)
    } - {"width", "train_fraction", "epochs", "decay_epochs"}
    if mechanism == "_l2":
        assert narrow.weight_decay_mode == "l2"
        assert narrow.weight_decay == 3e-4
        assert differing <= {"weight_decay_mode", "weight_decay"}
    elif optimizer == "sgd" and mechanism:
        assert narrow.optimizer == "sgdw"
        assert narrow.weight_decay == pytest.approx(
            scaling.decoupled_from_stable(full.weight_decay, full.momentum)
        )
        assert differing == {"optimizer", "weight_decay", "weight_decay_mode"}
    else:
        assert differing == set()


@pytest.mark.parametrize(
    ("name", "rate", "decay", "mode"),
    [
        ("cifar10_vgg16_plain_sgd_wd", 0.03, 3e-4, "l2"),
        ("cifar10_vgg16_bn_sgd_wd", 0.1, 1e-3, "l2"),
        ("cifar10_vgg16_bn_augmented_adam_wd", 3e-4, 1.0, "decoupled"),
        ("cifar10_vgg16_bn_augmented_sgd", 0.01, 0.0, "l2"),
        ("cifar100_vgg16_bn_augmented_sgd_wd", 0.03, 3e-3, "l2"),
    ],
)
def test_three_mechanisms_configs_are_those_published(name, rate, decay, mode):
    settings = parsed(f"three_mechanisms/{name}.flags")
    optimizer = optimizer_lib.plan(settings, STEPS).create()
    assert settings.learning_rate == rate
    assert settings.weight_decay == decay
    assert optimizer.weight_decay_mode == mode
    assert settings.decay_epochs == (60, 120, 180)
    assert settings.batch_norm == ("_bn_" in name)
    assert settings.augment == ("augmented" in name)
