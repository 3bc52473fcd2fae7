"""Flags that have no effect: refused, or told where a number is the cause."""

import pytest

from tfwd.training.config import effects
from tfwd.training.config import fields
from tfwd.training.config import settings as settings_lib


@pytest.mark.parametrize(
    ("flag", "value", "others", "needed"),
    [
        ("resume", "never", {}, "--output_dir"),
        ("data_dir", "a", {}, "--dataset=mnist"),
        ("bptt", 20, {}, "--dataset=ptb"),
        (
            "eval_batch_size",
            20,
            {"dataset": "ptb", "model": "lstm"},
            "--dataset=digits",
        ),
        ("batch_norm", False, {"dataset": "ptb", "model": "lstm"}, "--model="),
        ("sync_batch_norm", True, {"batch_norm": False}, "--batch_norm"),
        ("hidden_layers", 3, {"model": "resnet20"}, "--model=mlp or lstm"),
        ("hidden_units", 3, {"model": "vgg11"}, "--model=mlp or lstm"),
        ("width", 0.5, {"model": "nets:net"}, "a --model that is no function"),
        ("convention", "xie2022", {"model": "nets:net"}, "is no function"),
        ("dropout", 0.3, {"model": "vgg11"}, "--model=googlenet or lstm"),
        ("num_devices", 2, {"strategy": "tpu"}, "--strategy=mirrored"),
        ("virtual_cpus", 2, {"strategy": "tpu"}, "--strategy=mirrored"),
        ("tpu", "a", {"strategy": "mirrored"}, "--strategy=tpu"),
        ("adaptivity", 0.3, {"optimizer": "adamw"}, "=stable"),
        ("second_moment_offset", 1e-8, {"optimizer": "adam"}, "=stable"),
        ("decay_scope_from_epoch", 2, {}, "--decay_scope=normalized"),
        ("ema_momentum", 0.9, {}, "--use_ema"),
        ("ema_overwrite_frequency", 9, {}, "--use_ema"),
        ("decay_epochs", (3, 5), {}, "--schedule=step"),
        ("decay_epochs", (3,), {"schedule": "cosine"}, "--schedule=step"),
        ("decay_factor", 0.5, {"schedule": "cosine"}, "--schedule=step"),
        ("final_fraction", 0.5, {"schedule": "step"}, "--schedule=cosine"),
        ("restart_epochs", 2.0, {"schedule": "cosine"}, "=cosine_restarts"),
        ("restart_multiplier", 3.0, {}, "--schedule=cosine_restarts"),
        ("base_batch_size", 64, {}, "--scaling_rule=lr, sqrt_lr or"),
        ("diagnostics_every", 2, {}, "--diagnostics"),
        ("diagnostics_examples", 9, {"diagnostics": ("damping",)}, "jacobian"),
        ("diagnostics_projections", 2, {"diagnostics": ("fisher",)}, "=jacob"),
        ("norm_transfer_from_epoch", 2, {}, "--norm_transfer"),
        ("norm_transfer_moments", "scale", {}, "--norm_transfer"),
    ],
)
def test_flag_of_another_choice_is_refused(flag, value, others, needed):
    settings = settings_lib.Settings(**others)
    assert flag in effects.without_effect(fields.values(settings))
    with pytest.raises(ValueError) as error:
        settings.replace(**{flag: value})
    message = str(error.value)
    assert message.startswith(f"`--{flag}` needs ") and needed in message
    assert f"Received: --{flag}={value}" in message
    # With its default too, where it was given.
    effects.check(settings)
    with pytest.raises(ValueError, match=f"`--{flag}` needs"):
        effects.check(settings, [flag])


@pytest.mark.parametrize(
    "flags",
    [
        {"schedule": "step", "decay_epochs": (3,), "decay_factor": 0.5},
        {"weight_decay_schedule": "step", "decay_epochs": (3,)},
        {"schedule": "cosine", "final_fraction": 0.1},
        {"schedule": "cosine_restarts", "restart_multiplier": 3.0},
        {"scaling_rule": "lr", "base_batch_size": 64},
        {"optimizer": "adams", "adaptivity": 0.25},
        {"weight_decay_mode": "stable", "optimizer": "yogi", "adaptivity": 1},
        {"diagnostics": ("damping", "jacobian"), "diagnostics_projections": 2},
        {"dataset": "mnist", "data_dir": "a"},
        {"mode": "eval", "model_file": "a.keras", "train_fraction": 0.5},
        {"mode": "eval", "model_file": "a.keras", "model": "a.b:c"},
    ],
    ids=str,
)
def test_flag_of_the_choice_is_taken(flags):
    settings = settings_lib.Settings(**flags)
    assert not effects.without_effect(fields.values(settings)) & set(flags)
    effects.check(settings, flags)


@pytest.mark.parametrize(
    "flag", ["epochs", "batch_size", "model", "optimizer", "seed", "augment"]
)
def test_evaluation_takes_no_flags_of_training(flag):
    settings = settings_lib.Settings(mode="eval", model_file="a.keras")
    with pytest.raises(ValueError, match=f"`--{flag}` needs --mode=train"):
        effects.check(settings, [flag])


def test_every_flag_of_the_table_is_one():
    known = {field.name for field in fields.of(settings_lib.Settings)}
    for names, row in effects.NEEDS:
        assert {*names, *row} <= known


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, []),
        ({"schedule": "step", "decay_epochs": (10, 20)}, []),
        (
            {"schedule": "step"},
            [
                "The step schedule never drops: --decay_epochs=80,160 with "
                "--epochs=30"
            ],
        ),
        (
            {"weight_decay_schedule": "step", "decay_epochs": (10, 30, 40)},
            [
                "The step schedule does not drop after 30 or 40: "
                "--decay_epochs=10,30,40 with --epochs=30"
            ],
        ),
        ({"schedule": "cosine_restarts"}, []),
        (
            {"schedule": "cosine_restarts", "restart_epochs": 30},
            [
                "The cosine schedule never restarts: --restart_epochs=30 with "
                "--epochs=30"
            ],
        ),
        (
            {"weight_decay": 0, "decay_scope": "final"},
            ["--decay_scope has no effect with --weight_decay=0.0"],
        ),
    ],
    ids=str,
)
def test_what_is_heeded_and_changes_nothing_is_told(flags, expected):
    assert list(effects.notes(settings_lib.Settings(**flags))) == expected
