"""The flagfiles in configs/: valid, headed by what they are, as published."""

import pathlib

import pytest

from tfwd import models
from tfwd import scaling
from tfwd.training.config import fields
from tfwd.training.config import flagfile
from tfwd.training.config import settings as settings_lib
from tfwd.training.setup import optimization as optimizer_lib
from tfwd_tests.training import published

ROOT = pathlib.Path(__file__).parents[2] / "configs"
# Those of searches are tried beside tfwd.tuning.
CONFIGS = sorted(
    path.relative_to(ROOT)
    for path in ROOT.rglob("*.flags")
    if path.parent.name != "search"
)
STEPS = 391


def parsed(name):
    return flagfile.parse([f"--flagfile={ROOT / name}"])


def head(name):
    lines = (ROOT / name).read_text().splitlines()
    return " ".join(line[1:].strip() for line in lines if line[:1] == "#")


def planned(settings):
    plan = optimizer_lib.plan(settings, STEPS)
    return plan, plan.create()


def check_rates(plan, rate, drops):
    """The rate is `rate`, and a tenth of what it was after every drop."""
    for count, epoch in enumerate(drops):
        step = epoch * STEPS
        for value, power in ((step, count), (step + 1, count + 1)):
            assert optimizer_lib.value_at(
                plan.learning_rate, value
            ) == pytest.approx(rate * 0.1**power, rel=1e-6)


@pytest.mark.parametrize("name", CONFIGS, ids=str)
def test_config_is_valid_and_headed(name):
    settings = parsed(name)
    optimizer_lib.check(settings)
    optimizer_lib.plan(settings, STEPS).create()
    text = head(name)
    assert text.startswith("Reproduces: ")
    for word in ("Command: ", "Hardware: ", "Published: "):
        assert word in text
    assert f"python -m tfwd.train --flagfile=configs/{name} " in text


def test_every_full_size_config_is_in_a_table():
    full = {str(name) for name in CONFIGS if "_narrow" not in name.stem}
    xie = [
        f"{network}_{optimizer}"
        for network, optimizer, _ in published.XIE_CELLS
    ]
    xie += ["cifar10_vgg16_sgdw"]
    for optimizer in ("adam", "adamw", "adams"):
        xie += [f"imagenet_resnet50_{optimizer}", f"ptb_lstm_{optimizer}"]
    assert full == {
        "default.flags",
        *(
            f"three_mechanisms/{name}.flags"
            for name, *_ in published.ZHANG_CELLS
        ),
        *(f"stable_weight_decay/{name}.flags" for name in xie),
    }


def test_default_config_writes_out_the_defaults():
    settings = parsed("default.flags")
    layers = {"hidden_layers": 2, "hidden_units": 128}
    assert settings == settings_lib.Settings(
        learning_rate=1e-3, weight_decay=5e-4, **layers
    )
    plan = optimizer_lib.plan(settings_lib.Settings(), STEPS)
    assert (plan.learning_rate, plan.weight_decay) == (1e-3, 5e-4)
    written, default = (
        models.build(settings.model.model, (8, 8, 1), 10, **given)
        for given in (layers, {})
    )
    assert [each.shape for each in written.variables] == [
        each.shape for each in default.variables
    ]


@pytest.mark.parametrize(
    ("name", "rate", "decay", "accuracy"), published.ZHANG_CELLS
)
def test_three_mechanisms_config_is_a_cell_of_table_1(
    name, rate, decay, accuracy
):
    settings = parsed(f"three_mechanisms/{name}.flags")
    plan, made = planned(settings)
    kfac = "_kfac_" in name
    assert (settings.data.dataset, settings.model.model) == tuple(
        name.split("_")[:2]
    )
    assert settings.model.width == (4 if "resnet32" in name else 1)
    assert settings.model.convention is None
    assert settings.model.batch_norm == ("_bn_" in name)
    assert settings.data.augment == ("_augmented_" in name)
    assert (settings.data.batch_size, settings.schedule.epochs) == (
        128,
        100 if kfac else 200,
    )
    check_rates(plan, rate, (40, 80) if kfac else (60, 120, 180))
    assert plan.weight_decay == decay
    if decay or kfac:
        mode = "l2" if "_sgd" in name else "decoupled"
        assert made.weight_decay_mode == mode
    if "_adam" not in name:
        assert made.get_config()["momentum"] == 0.9
    assert f"Published: test accuracy {accuracy:.2f} %." in head(
        f"three_mechanisms/{name}.flags"
    )


@pytest.mark.parametrize(
    "name", [name for name, *_ in published.ZHANG_CELLS if "_kfac_" in name]
)
def test_kfac_config_is_that_published(name):
    settings = parsed(f"three_mechanisms/{name}.flags")
    _, made = planned(settings)
    gauss_newton = "_kfac_g" in name
    expected = dict(
        kl_clip=published.KL_CLIPS.get(name),
        damping=published.DAMPINGS.get(name, 1e-3),
        damping_mode="factored",
        factor_decay=0.95,
        factor_every=10,
        inverse_every=100,
        curvature="gauss_newton" if gauss_newton else "fisher",
        curvature_scale=2.0 if gauss_newton else None,
        estimation="sampled",
        update_order="authors",
    )
    config = made.get_config()
    assert {key: config[key] for key in expected} == expected
    assert settings.kfac.cold_start


@pytest.mark.parametrize(
    ("network", "optimizer", "error"),
    [*published.XIE_CELLS, ("cifar10_vgg16", "sgdw", "6.28±0.07")],
)
def test_stable_weight_decay_config_is_a_cell_of_tables_1_and_4(
    network, optimizer, error
):
    name = f"stable_weight_decay/{network}_{optimizer}.flags"
    settings = parsed(name)
    plan, made = planned(settings)
    rate, decay, mode = published.XIE_RULES[optimizer]
    small = settings.data.dataset == "cifar10"
    assert f"{settings.data.dataset}_{settings.model.model}" == network
    assert settings.optimizer.optimizer == optimizer
    # Of the models only this one is the other paper's by default.
    convention = "xie2022" if settings.model.model == "vgg16" else None
    assert settings.model.convention == convention
    assert (
        settings.data.augment
        and settings.model.batch_norm
        and settings.model.width == 1
    )
    assert (settings.data.batch_size, settings.schedule.epochs) == (128, 200)
    check_rates(plan, rate, (80, 160) if small else (100, 150))
    assert (plan.weight_decay, made.weight_decay_mode) == (decay, mode)
    if optimizer.startswith("sgd"):
        assert made.get_config()["momentum"] == 0.9
    if optimizer == "padam":
        assert made.get_config()["partial"] == 0.25
    assert f"{error.replace('±', ' +- ')} %" in head(name)


def test_sgdw_has_the_coefficient_that_makes_it_sgds():
    folder = "stable_weight_decay/cifar10_vgg16"
    sgdw, sgds = (parsed(f"{folder}_{each}.flags") for each in ("sgdw", "sgds"))
    assert sgdw.optimizer.weight_decay == pytest.approx(
        scaling.decoupled_from_stable(
            sgds.optimizer.weight_decay, sgds.optimizer.momentum
        )
    )
    assert differing(sgdw, sgds) == {"optimizer", "weight_decay"}


@pytest.mark.parametrize(
    ("optimizer", "decay", "error"),
    [
        ("adams", 5e-4, 24.19),
        # Beyond 0.05 they do not search.
        ("adamw", 0.05, 24.29),
        ("adam", 5e-4, 30.07),
    ],
)
def test_imagenet_config_is_that_of_figure_10(optimizer, decay, error):
    name = f"stable_weight_decay/imagenet_resnet50_{optimizer}.flags"
    settings = parsed(name)
    plan, made = planned(settings)
    assert settings.data.dataset == "imagenet2012" and settings.data.augment
    assert (
        settings.model.model == "resnet50_imagenet"
        and settings.model.batch_norm
    )
    assert settings.optimizer.optimizer == optimizer
    assert (settings.data.batch_size, settings.schedule.epochs) == (256, 90)
    check_rates(plan, 1e-3, (30, 60))
    assert plan.weight_decay == decay
    assert made.weight_decay_mode == published.XIE_RULES[optimizer][2]
    assert f"Published: Fig. 10: top-1 test error {error:.2f} %." in head(name)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adams"])
def test_treebank_config_is_a_point_of_figure_11(optimizer):
    settings = parsed(f"stable_weight_decay/ptb_lstm_{optimizer}.flags")
    plan, made = planned(settings)
    assert (settings.data.dataset, settings.model.model) == ("ptb", "lstm")
    assert (settings.model.hidden_layers, settings.model.hidden_units) == (
        2,
        512,
    )
    assert (settings.model.dropout, settings.data.bptt) == (0.5, 35)
    assert settings.optimizer.optimizer == optimizer
    assert settings.data.batch_size == 20
    assert made.global_clipnorm == 1
    assert plan.learning_rate == 1e-3
    axis = (1e-4, 5e-5, 1e-5, 5e-6, 1e-6, 5e-7, 1e-7)
    assert plan.weight_decay in axis
    assert made.weight_decay_mode == published.XIE_RULES[optimizer][2]


def differing(one, other):
    others = fields.values(other)
    return {
        name
        for name, value in fields.values(one).items()
        if value != others[name]
    }


@pytest.mark.parametrize("optimizer", ["sgd", "kfac_f", "kfac_g"])
@pytest.mark.parametrize("mechanism", ["", "_l2", "_decoupled"])
def test_narrow_configs_keep_the_values_of_the_full_ones(optimizer, mechanism):
    base = f"three_mechanisms/cifar10_vgg16_plain_{optimizer}"
    narrow = parsed(f"{base}{mechanism}_narrow.flags")
    full = parsed(f"{base}{'_wd' if mechanism else ''}.flags")
    changed = differing(narrow, full) - {
        *("width", "train_fraction", "epochs", "decay_epochs")
    }
    if mechanism == "_l2":
        assert narrow.optimizer.weight_decay_mode == "l2"
        assert narrow.optimizer.weight_decay == 3e-4
        assert changed <= {"weight_decay_mode", "weight_decay"}
    elif optimizer == "sgd" and mechanism:
        assert narrow.optimizer.optimizer == "sgdw"
        assert narrow.optimizer.weight_decay == pytest.approx(
            scaling.decoupled_from_stable(
                full.optimizer.weight_decay, full.optimizer.momentum
            )
        )
        assert changed == {"optimizer", "weight_decay", "weight_decay_mode"}
    else:
        assert changed == set()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adams"])
def test_narrow_stable_configs_differ_in_size_and_convention(optimizer):
    base = f"stable_weight_decay/cifar10_vgg16_{optimizer}"
    narrow, full = parsed(f"{base}_narrow.flags"), parsed(f"{base}.flags")
    assert differing(narrow, full) == {
        *("width", "train_fraction", "epochs", "decay_epochs", "convention")
    }
    assert narrow.model.convention == "zhang2019"
