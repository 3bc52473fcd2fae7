"""Flags: what is parsed, what is written, and that both agree.

Covers `decimals`, `fields`, `flag_help`, `flag_lines` and `paths`.
"""

import pytest

from tfwd.training.config import fields
from tfwd.training.config import flag_lines
from tfwd.training.config import flagfile
from tfwd.training.config import settings as settings_lib

EVERYTHING = [
    "--optimizer=sgds",
    "--learning_rate=0.1",
    "--weight_decay=3e-07",
    "--exclude_from_weight_decay=@bias",
    "--exclude_from_weight_decay=logits/.*, #x",
    "--weight_decay_multiplier=hidden1=0.5",
    "--nesterov",
    "--nobatch_norm",
    "--schedule=step",
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
    for field in fields.of(settings_lib.Settings):
        assert f"--{field.name}:" in text or f"--[no]{field.name}:" in text
        assert field.metadata["help"]


def test_lines_replay_the_settings_exactly(tmp_path):
    settings = flagfile.parse(EVERYTHING)
    path = tmp_path / "flags.txt"
    path.write_text("\n".join(flag_lines.lines(settings)))
    assert flagfile.parse([f"--flagfile={path}"]) == settings
    assert settings.optimizer.exclude_from_weight_decay == (
        "@bias",
        "logits/.*, #x",
    )
    assert settings.schedule.decay_epochs == (3, 5)
    assert settings.run.diagnostics == ("jacobian", "damping")
    assert settings.optimizer.nesterov is True
    assert settings.model.batch_norm is False


def test_lines_leave_out_the_folder_and_make_paths_absolute(tmp_path):
    settings = settings_lib.Settings(
        output_dir="a", data_dir="b", dataset="mnist"
    )
    names = [line.partition("=")[0] for line in flag_lines.lines(settings)]
    assert "--output_dir" not in names
    (line,) = [x for x in flag_lines.lines(settings) if "data_dir" in x]
    assert line.startswith("--data_dir=/") and line.endswith("/b")


@pytest.mark.parametrize("file_first", [True, False])
def test_command_line_wins_over_the_flagfile(tmp_path, file_first):
    path = tmp_path / "some.flags"
    path.write_text("# why\n\n--epochs=7\n--batch_size=64\n")
    arguments = [f"--flagfile={path}", "--epochs=9"]
    if not file_first:
        arguments.reverse()
    settings = flagfile.parse(arguments)
    assert (settings.schedule.epochs, settings.data.batch_size) == (9, 64)


def test_two_word_flagfile_loses_too_wherever_it_stands(tmp_path):
    path = tmp_path / "flags.txt"
    path.write_text("--epochs=3\n--seed=7")
    settings = flagfile.parse(["--epochs=9", "--flagfile", str(path)])
    assert (settings.schedule.epochs, settings.run.seed) == (9, 7)


def test_repeated_flag_replaces_that_of_the_flagfile(tmp_path):
    path = tmp_path / "flags.txt"
    path.write_text("--exclude_from_weight_decay=@bias\n--seed=7")
    files = [f"--flagfile={path}"]
    of_file = flagfile.parse(files)
    assert of_file.optimizer.exclude_from_weight_decay == ("@bias",)
    given = ["--exclude_from_weight_decay=@norm"]
    given.append("--exclude_from_weight_decay=@embedding")
    both = flagfile.parse([*given, *files])
    assert both.optimizer.exclude_from_weight_decay == ("@norm", "@embedding")
    assert both.run.seed == 7


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--epoch=3"], "epoch"),
        (["--epochs=three"], "--epochs=three"),
        (["--decay_epochs=3,x"], "`--decay_epochs` must be integers"),
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
    lines = flag_lines.lines(settings)
    assert flag_lines.differences(settings, lines) == []
    other = settings.replace(
        ema_momentum=None,
        epochs=3,
        exclude_from_weight_decay=("@bias",),
    )
    assert flag_lines.differences(other, lines) == [
        ("epochs", "30", "3"),
        ("exclude_from_weight_decay", "@bias,logits/.*, #x", "@bias"),
        ("ema_momentum", "0.999", "<unset>"),
    ]


def test_flag_that_is_not_there_has_its_default():
    settings = flagfile.parse(EVERYTHING)
    lines = flag_lines.lines(settings)
    lines.remove("--decay_scope=all")
    assert flag_lines.differences(settings, lines) == []
    other = settings.replace(decay_scope="final")
    assert flag_lines.differences(other, lines) == [
        ("decay_scope", "all", "final")
    ]


def test_how_a_run_is_carried_out_makes_no_other_run_of_it():
    settings = flagfile.parse([*EVERYTHING, "--dataset=mnist"])
    moved = settings.replace(
        strategy="mirrored",
        num_devices=2,
        data_dir="elsewhere",
        output_dir="elsewhere",
        resume="must",
        checkpoint_every="5",
        keep_checkpoints=9,
        step_timeout=60.0,
        tensorboard=True,
        diagnostics=("jacobian",),
        diagnostics_every=2,
    )
    assert flag_lines.differences(moved, flag_lines.lines(settings)) == []


def test_flags_txt_of_an_earlier_version_counts_without_its_idle_flags():
    settings = flagfile.parse(["--optimizer=adamw", "--weight_decay=5e-4"])
    # Every flag stood there, with or without effect.
    lines = [*flag_lines.lines(settings), "--bptt=7", "--decay_epochs=80,160"]
    lines += ["--diagnostics_every=1", "--final_fraction=0.5"]
    assert flag_lines.differences(settings, lines) == []
    text = settings.replace(dataset="ptb", model="lstm", bptt=8, hidden_units=4)
    assert ("bptt", "7", "8") in flag_lines.differences(text, lines)


def test_run_that_is_gone_on_with_keeps_its_weight_decay():
    # 5e-4 was the default of every optimizer.
    lines = ["--optimizer=adamw", "--weight_decay=0.0005"]
    settings = flagfile.parse(["--optimizer=adamw"])
    assert flag_lines.differences(settings, lines) == []
    assert flag_lines.completed(settings, lines).optimizer.weight_decay == 5e-4
    given = flagfile.parse(["--optimizer=adamw", "--weight_decay=0.5"])
    assert flag_lines.completed(given, lines) is given
    expected = [("weight_decay", "0.0005", "0.5")]
    assert flag_lines.differences(given, lines) == expected
    # A flags.txt without the flag counts as the default of its time.
    assert flag_lines.differences(given, lines[:1]) == expected


def test_recorded_flags_without_effect_are_passed_over(tmp_path):
    path = tmp_path / "flags.txt"
    path.write_text("--model=vgg16\n--hidden_units=64\n--bptt=35\n--seed=7")
    with pytest.raises(ValueError, match="`--hidden_units` needs --model=mlp"):
        flagfile.parse([f"--flagfile={path}"])
    settings = settings_lib.Settings(model="vgg16", seed=7)
    assert flagfile.recorded(path) == settings


def test_flagfile_may_write_out_defaults_without_effect(tmp_path):
    path = tmp_path / "flags.txt"
    path.write_text("--bptt=35\n--base_batch_size=128")
    assert flagfile.parse([f"--flagfile={path}"]) == settings_lib.Settings()
    with pytest.raises(ValueError, match="`--bptt` needs --dataset=ptb"):
        flagfile.parse([f"--flagfile={path}", "--bptt=35"])


def test_evaluation_leaves_out_what_a_flagfile_says_of_training(tmp_path):
    path = tmp_path / "flags.txt"
    path.write_text("--optimizer=sgds\n--epochs=3\n--train_fraction=0.5")
    arguments = [f"--flagfile={path}", "--mode=eval", "--model_file=a.keras"]
    assert flagfile.parse(arguments) == settings_lib.Settings(
        mode="eval", model_file="a.keras", train_fraction=0.5
    )
    with pytest.raises(ValueError, match="`--epochs` needs --mode=train"):
        flagfile.parse([*arguments, "--epochs=3"])


@pytest.mark.parametrize(
    "text",
    [
        *("--epochs=0x10", "--epochs=0o17", "--epochs=1_0", "--epochs=\u0663"),
        *("--epochs= 3", "--decay_epochs=1_0"),
        *("--learning_rate=1_0.0", "--learning_rate=\u0663", "--seed=1e3"),
        *("--learning_rate=0x1p-3", "--learning_rate= 1", "--width=infinity"),
    ],
)
def test_numbers_are_decimal(text):
    schedule = ["--schedule=step"] if "decay_epochs" in text else []
    with pytest.raises(ValueError) as error:
        flagfile.parse([*schedule, text])
    name, _, value = text.partition("=")
    assert name in str(error.value) and value.strip() in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1.0), (".5", 0.5), ("1.", 1.0), ("1e-3", 1e-3), ("+2E2", 200.0)],
)
def test_decimal_numbers_are_read_as_python_does(text, value):
    settings = flagfile.parse([f"--learning_rate={text}"])
    assert settings.optimizer.learning_rate == value


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("form", ["--undefok=epoch", "-undefok=epoch"])
def test_misspelt_flag_cannot_be_hidden(tmp_path, in_file, form):
    arguments = [form, "--epoch=3"]
    if in_file:
        path = tmp_path / "f.flags"
        path.write_text("\n".join(arguments))
        arguments = [f"--flagfile={path}"]
    with pytest.raises(ValueError, match="`--undefok` is no flag"):
        flagfile.parse(arguments)


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
    known = fields.of(settings_lib.Settings)
    assert flags == [field.name for field in known]
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
        "(an integer at least 1; default 30)",
        "(a number above 0 at most 1; default 1.0)",
        "--[no]augment: random crop (zero padding 4) and horizontal flip "
        "(default false)",
        "(an integer; needs --schedule=step or "
        "--weight_decay_schedule=step; default 80,160)",
    ):
        assert part in text
