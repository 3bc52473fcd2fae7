"""Settings: every rule is stated with the flag's name and the value.

How the binary refuses is in bad_input_test.py, for one rule of each kind.

Covers `rules`, `data_settings`, `distribution_settings`, `kfac_settings`,
`model_settings`, `optimizer_settings`, `run_settings` and `schedule_settings`.
"""

import copy
import dataclasses
import itertools

import pytest

from tfwd.training.config import fields
from tfwd.training.config import flagfile
from tfwd.training.config import settings as settings_lib
from tfwd.training.config import usage


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
    value = settings_lib.Settings(learning_rate=1).optimizer.learning_rate
    assert type(value) is float


def test_multipliers_split_at_the_last_equals_sign():
    settings = settings_lib.Settings(
        weight_decay_multiplier=("a=b=0.5", "bias$=0")
    )
    assert settings.optimizer.multipliers() == {"a=b": 0.5, "bias$": 0.0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epochs="], ["--epochs="]),
        (["--batch_size=1e3"], ["--batch_size", "1e3"]),
        (["--epochs=9999999999"], ["--epochs", "below 4294967296"]),
        (["--flagfile="], ["--flagfile", "must name a file"]),
        (["--mode=test"], ["--mode", "train, eval", "test"]),
        (["--keep_checkpoints=0"], ["--keep_checkpoints", "at least 1", "0"]),
        (["--on_nan=ignore"], ["--on_nan", "stop, restore", "ignore"]),
        (["--step_timeout=0"], ["--step_timeout", "above 0", "0.0"]),
        (["--step_timeout=nan"], ["--step_timeout", "finite", "nan"]),
        (["--resume=maybe"], ["--resume", "auto, never, must", "maybe"]),
        (["--label_smoothing=1"], ["--label_smoothing", "below 1", "1.0"]),
        (["--label_smoothing=-0.1"], ["--label_smoothing", "at least 0"]),
        (
            [
                *("--optimizer=kfac", "--curvature=empirical"),
                "--label_smoothing=0.1",
            ],
            ["--label_smoothing", "0 for --curvature=empirical", "=0.1"],
        ),
        (["--loss_scale_factor=0"], ["--loss_scale_factor", "above 0"]),
        (["--weight_decay=1e39"], ["--weight_decay", "float32", "1e+39"]),
        (["--learning_rate=1e-46"], ["--learning_rate", "float32", "1e-46"]),
        (
            ["--schedule=cosine_restarts", "--restart_multiplier=1e300"],
            ["--restart_multiplier", "1e+300"],
        ),
        (
            ["--schedule=cosine_restarts", "--restart_multiplier=1.0000001"],
            ["--restart_multiplier", "1 or at least 1.001", "1.0000001"],
        ),
        (
            ["--schedule=cosine_restarts", "--restart_epochs=1e9"],
            ["--restart_epochs", "at most 1e+06", "1000000000.0"],
        ),
        (
            ["--schedule=step", f"--decay_epochs=9{'9' * 20}"],
            ["--decay_epochs", "below 4294967296", "999"],
        ),
        (["--hidden_layers=4294967295"], ["--hidden_layers", "at most 1000"]),
        (
            ["--optimizer=kfac", "--inverse_every=4294967295"],
            ["--inverse_every", "at most 1e+06", "4294967295"],
        ),
        (["--step_timeout=1e300"], ["--step_timeout", "1e+300"]),
        (
            ["--diagnostics=jacobian", "--diagnostics_projections=4000000000"],
            ["--diagnostics_projections", "at most 1000", "4000000000"],
        ),
        (
            ["--strategy=mirrored", "--virtual_cpus=4294967295"],
            ["--virtual_cpus", "at most 1024", "4294967295"],
        ),
        (["--epochs=0x10"], ["--epochs", "decimal", "0x10"]),
        (["--batch_size=1_0"], ["--batch_size", "decimal", "1_0"]),
        (["--learning_rate=1_0"], ["--learning_rate", "decimal", "1_0"]),
        (
            ["--model=resnet20", "--hidden_units=9"],
            ["--hidden_units", "--model=mlp or lstm", "9"],
        ),
        (
            ["--schedule=cosine", "--decay_epochs=5"],
            ["--decay_epochs", "--schedule=step", "5"],
        ),
        (
            ["--base_batch_size=128"],
            ["--base_batch_size", "--scaling_rule=lr", "128"],
        ),
        (["--decay_epochs=a"], ["--decay_epochs", "integer", "=a"]),
        (["--decay_epochs=5,3"], ["--decay_epochs", "increasing", "5,3"]),
        (
            ["--exclude_from_weight_decay="],
            ["--exclude_from", "one line", "''"],
        ),
        (
            ["--weight_decay_multiplier=bias=1e39"],
            ["--weight_decay_multiplier", "factor", "bias=1e39"],
        ),
        (
            ["--decay_scope=none", "--decay_scope_from_epoch=30"],
            ["--decay_scope_from_epoch", "below --epochs=30", "=30"],
        ),
        (["--dataset=ptb"], ["--model", "lstm", "=mlp"]),
        (["--model=lstm"], ["--model", "--dataset=ptb", "=lstm"]),
        (
            ["--dataset=ptb", "--model=lstm", "--optimizer=kfac"],
            ["--optimizer", "lstm", "=kfac"],
        ),
        (
            ["--dataset=ptb", "--model=lstm", "--bptt=0"],
            ["--bptt", "at least 1", "0"],
        ),
        (["--eval_batch_size=0"], ["--eval_batch_size", "at least 1", "0"]),
        (["--width=0"], ["--width", "above 0", "0.0"]),
        (["--dropout=0.5"], ["--dropout", "--model=googlenet", "0.5"]),
        (["--dropout=1"], ["--dropout", "below 1", "1.0"]),
        (["--convention=he2015"], ["--convention", "zhang2019", "he2015"]),
        (["--dtype_policy=float16"], ["--dtype_policy", "mixed_", "float16"]),
        (["--hidden_layers=-1"], ["--hidden_layers", "at least 0", "-1"]),
        (["--strategy=magic"], ["--strategy", "mirrored", "magic"]),
        (["--tpu=nonesuch"], ["--tpu", "--strategy=tpu", "nonesuch"]),
        (
            ["--strategy=multi_worker", "--worker_hosts=a:1,b:2"],
            ["--task_index", "--worker_hosts", "None"],
        ),
        (
            ["--strategy=multi_worker", "--task_index=0"],
            ["--task_index", "--worker_hosts", "0"],
        ),
        (
            [
                "--strategy=multi_worker",
                "--worker_hosts=a:1,b:2",
                "--task_index=-1",
            ],
            ["--task_index", "at least 0", "-1"],
        ),
        (
            ["--worker_hosts=a:1,b:2", "--task_index=0"],
            ["--strategy=multi_worker", "a:1,b"],
        ),
    ],
    ids=lambda value: ",".join(value) if value[0].startswith("-") else "",
)
def test_command_line_that_breaks_a_rule_is_refused_in_one_line(
    arguments, words
):
    with pytest.raises(usage.UsageError) as error:
        flagfile.parse(arguments)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


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


def test_every_flag_is_in_one_group_and_the_constructor_takes_it():
    groups = [
        {field.name for field in dataclasses.fields(group.type)}
        for group in dataclasses.fields(settings_lib.Settings)
    ]
    known = [field.name for field in fields.of(settings_lib.Settings)]
    assert sorted(known) == sorted(itertools.chain(*groups))
    assert len(set(known)) == len(known)
    settings = settings_lib.Settings(batch_size=64, beta_1=0, optimizer="adams")
    assert settings.data.batch_size == 64
    assert settings.optimizer.beta_1 == 0 and settings.run.seed == 0
    assert settings_lib.Settings(**fields.values(settings)) == settings


def test_flag_outside_of_its_group_is_read_with_a_warning():
    settings = settings_lib.Settings(epochs=3)
    with pytest.warns(DeprecationWarning, match="Settings.schedule.epochs"):
        assert settings.epochs == 3
    with pytest.raises(AttributeError, match="no flag 'epoch'"):
        assert settings.epoch
    assert copy.deepcopy(settings) == settings
    assert hash(copy.copy(settings)) == hash(settings)
