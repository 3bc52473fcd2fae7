"""Settings: every rule is stated with the flag's name and the value."""

import pytest

from tfwd.training.config import settings as settings_lib


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("learning_rate", -1.0, "at least 0"),
        ("learning_rate", float("nan"), "finite"),
        ("weight_decay", -1e-4, "at least 0"),
        ("weight_decay", float("inf"), "finite"),
        ("epsilon", -1e-8, "at least 0"),
        ("momentum", 1.0, "below 1"),
        ("beta_1", 1.0, "below 1"),
        ("train_fraction", 0.0, "above 0"),
        ("train_fraction", 1.5, "at most 1"),
        ("epochs", 0, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("seed", -1, "at least 0"),
        ("seed", 2**32, "below"),
        ("epochs", 1.5, "int"),
        ("epochs", True, "int"),
        ("augment", 1, "bool"),
        ("optimizer", "adamx", "one of sgd, "),
        ("dataset", "imagenet", "one of digits, mnist, cifar10, cifar100"),
        ("model", "resnet", "one of mlp, vgg11"),
        ("schedule", "linear", "one of constant, step, cosine"),
        ("model_file", "a.keras", "--mode=eval"),
        ("decay_epochs", (), "increasing"),
        ("decay_epochs", (80, 80), "increasing"),
        ("decay_epochs", (0, 80), "increasing"),
        ("warmup_epochs", 31.0, "--epochs=30"),
        ("ema_momentum", 0.9, "--use_ema"),
        ("num_devices", 2, "--strategy=mirrored"),
        ("virtual_cpus", 2, "--strategy=mirrored"),
        ("exclude_from_weight_decay", ("bias ",), "without blanks"),
        ("weight_decay_multiplier", ("bias",), "factor"),
        ("weight_decay_multiplier", ("bias=x",), "factor"),
        ("weight_decay_multiplier", ("bias=-1",), "factor"),
        ("accumulation_steps", 1, "at least 2"),
        ("curvature", "hessian", "one of fisher, gauss_newton, empirical"),
        ("damping", 0.0, "above 0"),
        ("damping_mode", "none", "one of factored, eigen"),
        ("factor_decay", 1.0, "below 1"),
        ("factor_every", 0, "at least 1"),
        ("inverse_every", 0, "at least 1"),
        ("kl_clip", 0.0, "above 0"),
        ("curvature_scale", 0.0, "above 0"),
        ("estimation", "all", "one of sampled, exact"),
        ("on_unsupported", "skip", "one of error, sgd"),
        ("update_order", "paper", "one of algorithm, authors"),
        ("diagnostics", ("jacobian", "hessian"), "one of effective"),
        ("diagnostics_every", 0, "at least 1"),
        ("diagnostics_examples", 0, "at least 1"),
        ("diagnostics_projections", 0, "at least 1"),
        ("decay_scope", "conv", "one of all, normalized, final, none"),
        ("decay_scope_from_epoch", -1, "at least 0"),
        ("decay_scope_from_epoch", 1, "--decay_scope"),
        ("norm_transfer_from_epoch", 0, "at least 1"),
        ("norm_transfer_from_epoch", 2, "--norm_transfer"),
        ("norm_transfer_from_epoch", 31, "--epochs=30"),
        ("norm_transfer_moments", "drop", "one of keep, scale"),
        ("norm_transfer_moments", "scale", "--norm_transfer"),
    ],
)
def test_broken_rule_names_the_flag_the_rule_and_the_value(name, value, rule):
    with pytest.raises(ValueError) as error:
        settings_lib.Settings(**{name: value})
    message = str(error.value)
    assert message.startswith(f"`--{name}` ")
    assert rule in message
    assert f"Received: --{name}=" in message
    assert "\n" not in message


def test_clipping_flags_exclude_one_another():
    with pytest.raises(ValueError, match="--global_clipnorm.*--clipvalue"):
        settings_lib.Settings(clipvalue=1.0, global_clipnorm=1.0)


def test_evaluation_needs_a_model_file():
    with pytest.raises(ValueError, match="`--model_file` is needed"):
        settings_lib.Settings(mode="eval")


def test_whole_numbers_serve_as_floats():
    value = settings_lib.Settings(learning_rate=1).learning_rate
    assert type(value) is float


def test_multipliers_split_at_the_last_equals_sign():
    settings = settings_lib.Settings(
        weight_decay_multiplier=("a=b=0.5", "bias$=0")
    )
    assert settings.multipliers() == {"a=b": 0.5, "bias$": 0.0}


def test_flags_are_replaced_by_name_and_checked_again():
    settings = settings_lib.Settings(epochs=3, momentum=0.5, optimizer="sgd")
    other = settings.replace(epochs=4)
    assert other == settings_lib.Settings(
        epochs=4, momentum=0.5, optimizer="sgd"
    )
    assert other != settings
    with pytest.raises(ValueError, match="`--epochs` must be at least 1"):
        settings.replace(epochs=0)


def test_what_is_no_flag_is_no_argument():
    with pytest.raises(TypeError, match="epoch"):
        settings_lib.Settings(epoch=3)
