"""Flags: what is parsed, what is written, and that both agree."""

import dataclasses

import pytest

from tfwd.training import flagfile
from tfwd.training import settings as settings_lib

EVERYTHING = [
    "--optimizer=sgds",
    "--learning_rate=0.1",
    "--weight_decay=3e-07",
    "--exclude_from_weight_decay=@bias",
    "--exclude_from_weight_decay=logits/.*, #x",
    "--weight_decay_multiplier=hidden1=0.5",
    "--nesterov",
    "--nobatch_norm",
    "--decay_epochs=3,5",
    "--use_ema",
    "--ema_momentum=0.999",
    "--diagnostics=jacobian,damping",
    "--norm_transfer=/runs/a/diagnostics.csv",
]


def test_no_flags_are_the_defaults():
    assert flagfile.parse([]) == settings_lib.Settings()


def test_every_field_is_a_flag_with_help(capsys):
    with pytest.raises(SystemExit) as left:
        flagfile.parse(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    for field in dataclasses.fields(settings_lib.Settings):
        assert f"--{field.name}:" in text or f"--[no]{field.name}:" in text
        assert field.metadata["help"]


def test_lines_replay_the_settings_exactly(tmp_path):
    settings = flagfile.parse(EVERYTHING)
    path = tmp_path / "flags.txt"
    path.write_text("\n".join(flagfile.lines(settings)))
    assert flagfile.parse([f"--flagfile={path}"]) == settings
    assert settings.exclude_from_weight_decay == ("@bias", "logits/.*, #x")
    assert settings.decay_epochs == (3, 5)
    assert settings.diagnostics == ("jacobian", "damping")
    assert settings.nesterov is True
    assert settings.batch_norm is False


def test_lines_leave_out_the_folder_and_make_paths_absolute(tmp_path):
    settings = settings_lib.Settings(output_dir="a", data_dir="b")
    names = [line.partition("=")[0] for line in flagfile.lines(settings)]
    assert "--output_dir" not in names
    (line,) = [x for x in flagfile.lines(settings) if "data_dir" in x]
    assert line.startswith("--data_dir=/") and line.endswith("/b")


@pytest.mark.parametrize("file_first", [True, False])
def test_command_line_wins_over_the_flagfile(tmp_path, file_first):
    path = tmp_path / "some.flags"
    path.write_text("# why\n\n--epochs=7\n--batch_size=64\n")
    arguments = [f"--flagfile={path}", "--epochs=9"]
    if not file_first:
        arguments.reverse()
    settings = flagfile.parse(arguments)
    assert (settings.epochs, settings.batch_size) == (9, 64)


def test_two_word_flagfile_loses_too_wherever_it_stands(tmp_path):
    path = tmp_path / "flags.txt"
    path.write_text("--epochs=3\n--seed=7")
    settings = flagfile.parse(["--epochs=9", "--flagfile", str(path)])
    assert (settings.epochs, settings.seed) == (9, 7)


def test_repeated_flag_replaces_that_of_the_flagfile(tmp_path):
    path = tmp_path / "flags.txt"
    path.write_text("--exclude_from_weight_decay=@bias\n--seed=7")
    files = [f"--flagfile={path}"]
    of_file = flagfile.parse(files)
    assert of_file.exclude_from_weight_decay == ("@bias",)
    given = ["--exclude_from_weight_decay=@norm"]
    given.append("--exclude_from_weight_decay=@embedding")
    both = flagfile.parse([*given, *files])
    assert both.exclude_from_weight_decay == ("@norm", "@embedding")
    assert both.seed == 7


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--epoch=3"], "epoch"),
        (["--epochs=three"], "--epochs=three"),
        (["--decay_epochs=3,x"], "`--decay_epochs` must be whole numbers"),
        (["--flagfile=/nowhere/at.all"], "/nowhere/at.all"),
        (["train"], "Received: train"),
    ],
)
def test_unreadable_flags_are_one_line(arguments, names):
    with pytest.raises(ValueError) as error:
        flagfile.parse(arguments)
    assert names in str(error.value)
    assert "\n" not in str(error.value)


def test_differences_name_each_flag_with_both_values():
    settings = flagfile.parse(EVERYTHING)
    lines = flagfile.lines(settings)
    assert flagfile.differences(settings, lines) == []
    other = dataclasses.replace(
        settings,
        ema_momentum=None,
        epochs=3,
        exclude_from_weight_decay=("@bias",),
    )
    assert flagfile.differences(other, lines) == [
        ("epochs", "30", "3"),
        ("exclude_from_weight_decay", "@bias,logits/.*, #x", "@bias"),
        ("ema_momentum", "0.999", "<unset>"),
    ]


def test_flag_that_is_not_there_has_its_default():
    settings = flagfile.parse(EVERYTHING)
    lines = flagfile.lines(settings)
    lines.remove("--decay_scope=all")
    assert flagfile.differences(settings, lines) == []
    other = dataclasses.replace(settings, decay_scope="final")
    assert flagfile.differences(other, lines) == [
        ("decay_scope", "all", "final")
    ]


def test_how_a_run_is_carried_out_makes_no_other_run_of_it():
    settings = flagfile.parse(EVERYTHING)
    moved = dataclasses.replace(
        settings,
        strategy="mirrored",
        num_devices=2,
        data_dir="elsewhere",
        output_dir="elsewhere",
        resume="must",
        checkpoint_every="5",
        keep_checkpoints=9,
        step_timeout=60.0,
        tensorboard=True,
        diagnostics=(),
        diagnostics_every=2,
    )
    assert flagfile.differences(moved, flagfile.lines(settings)) == []


def test_help_has_each_flag_once_in_its_group(capsys):
    with pytest.raises(SystemExit):
        flagfile.parse(["--help"])
    groups, group = {}, None
    for line in capsys.readouterr().out.splitlines():
        assert len(line) <= 80
        if line and line[0] != " " and line.endswith(":"):
            group = groups.setdefault(line[:-1], [])
        elif line.startswith("  --"):
            name = line.strip().removeprefix("--").removeprefix("[no]")
            group.append(name.partition(":")[0])
    flags = [name for names in groups.values() for name in names]
    fields = dataclasses.fields(settings_lib.Settings)
    assert flags == [field.name for field in fields]
    for name, group in (
        ("output_dir", "Run"),
        ("augment", "Data"),
        ("batch_norm", "Model"),
        ("batch_size", "Training"),
        ("num_devices", "Devices"),
        ("learning_rate", "Optimizer"),
        ("decay_scope", "Weight decay"),
        ("beta_1", "Arguments of the optimizers"),
        ("cold_start", "K-FAC"),
        ("use_ema", "Gradients and averages"),
        ("warmup_epochs", "Schedules"),
        ("diagnostics_every", "Diagnostics"),
        ("norm_transfer_moments", "Norm transfer"),
    ):
        assert name in groups[group]


def test_help_tells_values_bounds_and_default(capsys):
    with pytest.raises(SystemExit):
        flagfile.parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "(constant, step, cosine, cosine_restarts; default constant)",
        "(a whole number at least 1; default 30)",
        "(a number above 0 at most 1; default 1.0)",
        "default 80,160)",
        "--[no]batch_norm: batch normalization, in the form of the convention "
        "(default true)",
    ):
        assert part in text
