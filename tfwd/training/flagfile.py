"""Settings as absl flags, and as the lines of a flagfile."""

import dataclasses
import os
import sys
import types
import typing

from absl import flags

from tfwd.training import decimals
from tfwd.training import effects
from tfwd.training import flag_help
from tfwd.training import rules
from tfwd.training import settings as settings_lib
from tfwd.training import usage

_PARSERS = {int: decimals.Integer(), float: decimals.Float()}
_DEFINE = {
    str: flags.DEFINE_string,
    bool: flags.DEFINE_bool,
    tuple[str, ...]: flags.DEFINE_multi_string,
}
# Where a run goes is no part of what it computes: a replay gets its own folder
# and its own machines.
_NOT_REPLAYED = ("output_dir", "resume", "worker_hosts", "task_index", "tpu")
# Nor is how it is carried out, which may change when it is resumed.
MAY_DIFFER = (
    "strategy",
    "num_devices",
    "virtual_cpus",
    "data_dir",
    "tensorboard",
    "log_every",
    "diagnostics",
    "diagnostics_every",
    "diagnostics_examples",
    "diagnostics_projections",
    "checkpoint_every",
    "keep_checkpoints",
    "step_timeout",
)
# Defaults of a flags.txt that does not hold the flag.
_FORMER_DEFAULTS = {"weight_decay": 5e-4}
_PATHS = ("data_dir", "model_file", "init_from", "norm_transfer")
_HELP = ("-h", "-help", "--helpshort", "--helpfull")


def parse(arguments, kind=settings_lib.Settings):
    """Reads `Settings` from a command line.

    Args:
        arguments: Flags without the program's name. A flag given directly
            wins over the same flag in a `--flagfile`, also one that may be
            repeated; `--help` prints all flags and leaves.
        kind: `Settings`, or another dataclass whose fields are like those.

    Returns:
        An instance of `kind`. A flagfile may hold flags of training for
        --mode=eval, such as a run's flags.txt: they are left out.

    Raises:
        UsageError: An unknown flag, a value that is not allowed, or a flag
            that has no effect.
    """
    files, direct = _split(arguments)
    # absl lets the last one win, but appends flags that may be repeated.
    values, given = _parsed([*files, *direct], kind), _parsed(direct, kind)
    if values.help:
        sys.stdout.write(flag_help.text(kind))
        raise SystemExit(0)
    found = {
        field.name: _value(
            field,
            (given if given[field.name].present else values)[field.name].value,
        )
        for field in dataclasses.fields(kind)
    }
    if kind is not settings_lib.Settings:
        return kind(**found)
    names = {name for name in found if given[name].present}
    if found["mode"] == "eval":
        found = _effective(found, keep=names)
    settings = kind(**found)
    # A flagfile may write defaults out that have no effect.
    effects.check(settings, names)
    return settings


def recorded(path):
    """Reads the `Settings` of a run's flags.txt.

    Flags that have no effect have their defaults in it: an earlier version
    took and recorded them.

    Raises:
        ValueError: A line is no flag, or a value is not allowed.
    """
    values = _parsed([f"--flagfile={path}"], settings_lib.Settings)
    return settings_lib.Settings(
        **_effective(
            {
                field.name: _value(field, values[field.name].value)
                for field in dataclasses.fields(settings_lib.Settings)
            }
        )
    )


def _effective(found, keep=()):
    """Flags by name, with their defaults where they have no effect."""
    names = effects.without_effect(types.SimpleNamespace(**found))
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(settings_lib.Settings)
    }
    return {
        name: defaults[name] if name in names - set(keep) else value
        for name, value in found.items()
    }


def _split(arguments):
    """Returns the `--flagfile` arguments, in either form, and the others."""
    files, direct = [], []
    remaining = iter(arguments)
    for text in remaining:
        name = text.lstrip("-")
        if text.startswith("-") and name == "flagfile":
            files.append(f"--flagfile={next(remaining, '')}")
        elif text.startswith("-") and name.startswith("flagfile="):
            files.append(f"--{name}")
        else:
            direct.append("--help" if text in _HELP else text)
    if "--flagfile=" in files:
        # absl would pass over it.
        rules.refuse("flagfile", "must name a file", "")
    return files, direct


def _parsed(arguments, kind):
    files = [each for each in arguments if each.startswith("--flagfile=")]
    values = flags.FlagValues()
    for field in dataclasses.fields(kind):
        _define(field, values)
    flags.DEFINE_bool("help", False, "print the flags", flag_values=values)
    try:
        arguments = values.read_flags_from_files(arguments)
        _refuse_hiding(arguments)
        rest = values(["tfwd", *arguments])[1:]
    except flags.Error as error:
        raise usage.UsageError(" ".join(str(error).split())) from None
    except UnicodeDecodeError as error:
        raise usage.UsageError(
            f"`--flagfile` must be text ({error.reason}). "
            f"Received: {' '.join(files)}"
        ) from None
    if rest:
        raise usage.UsageError(
            "Every argument must be a flag, --name=value. "
            f"Received: {' '.join(rest)}"
        )
    return values


def _refuse_hiding(arguments):
    """Refuses absl's own flag that lets others be misspelt."""
    for each in arguments:
        name, _, value = each.lstrip("-").partition("=")
        if each.startswith("-") and name == "undefok":
            rules.refuse(name, "is no flag: every flag must be known", value)


def lines(settings):
    """The flags that replay `settings`, one line each, without the folder.

    Flags without effect are left out, and the weight decay is the one used.
    """
    # Needs TensorFlow, which reading flags does not wait for.
    from tfwd.training import optimizer as optimizer_lib

    values = vars(settings) | {
        "weight_decay": optimizer_lib.weight_decay(settings)
    }
    left_out = {*_NOT_REPLAYED, *effects.without_effect(settings)}
    return [
        line
        for field in dataclasses.fields(settings)
        if field.name not in left_out
        for line in _lines_of(field, values[field.name])
    ]


def completed(settings, run_lines):
    """Returns `settings` with what a run has that is gone on with.

    Args:
        settings: `Settings`.
        run_lines: The lines of its flags.txt.

    Returns:
        `Settings` with its weight decay, if they give none: another version
        of tfwd may have had another default.
    """
    (value,) = _by_name(run_lines).get("weight_decay", [None])[-1:]
    if settings.weight_decay is not None or value is None:
        return settings
    try:
        return dataclasses.replace(settings, weight_decay=float(value))
    except ValueError:
        # Not written by any version; `differences` says so.
        return settings


def differences(settings, other_lines):
    """Where `lines(settings)` and a flags.txt do not describe the same run.

    Returns:
        Tuples (flag name, text there, text here), without the flags that say
        how the run is carried out: devices, places, checkpoints.
    """
    # A flag that an earlier version did not have has its default there, and
    # one without effect here is of no account.
    fields = {field.name: field for field in dataclasses.fields(settings)}
    there = _by_name(
        line
        for name, field in fields.items()
        for line in _lines_of(field, _FORMER_DEFAULTS.get(name, field.default))
    )
    there |= _by_name(other_lines)
    here = _by_name(lines(completed(settings, other_lines)))
    ignored = {
        *MAY_DIFFER,
        *_NOT_REPLAYED,
        *effects.without_effect(settings),
    }
    return [
        (
            name,
            *(",".join(each.get(name, ["<unset>"])) for each in (there, here)),
        )
        for name in dict.fromkeys([*here, *there])
        if there.get(name) != here.get(name) and name not in ignored
    ]


def _define(field, values):
    text = field.metadata["help"]
    kind = rules.kind_of(field)
    default = field.default
    if typing.get_args(kind):
        default = [str(each) for each in default]
    if _is_list(field):
        flags.DEFINE_list(field.name, default, text, flag_values=values)
    elif kind in _PARSERS:
        flags.DEFINE(
            _PARSERS[kind],
            field.name,
            default,
            text,
            values,
            flags.ArgumentSerializer(),
        )
    else:
        _DEFINE[kind](field.name, default, text, flag_values=values)


def _is_list(field):
    """Whether one flag holds all values: numbers, or some of a few names."""
    kind = rules.kind_of(field)
    return kind == tuple[int, ...] or (
        kind == tuple[str, ...] and "choices" in field.metadata
    )


def _value(field, value):
    kind = rules.kind_of(field)
    if kind == tuple[int, ...]:
        if not all(map(decimals.is_integer, value)):
            rules.refuse(
                field.name,
                "must be whole numbers, e.g. 80,160",
                ",".join(value),
            )
        return tuple(map(int, value))
    return tuple(value) if typing.get_args(kind) else value


def _lines_of(field, value):
    if value is None:
        return []
    kind = rules.kind_of(field)
    if field.name in _PATHS:
        value = os.path.abspath(os.path.expanduser(value))
    if _is_list(field):
        value = ",".join(map(str, value))
    elif kind == tuple[str, ...]:
        return [f"--{field.name}={each}" for each in value]
    if kind is bool:
        value = str(value).lower()
    return [f"--{field.name}={value}"]


def _by_name(flag_lines):
    result = {}
    for line in flag_lines:
        name, _, value = line.strip().removeprefix("--").partition("=")
        if name:
            result.setdefault(name, []).append(value)
    return result
