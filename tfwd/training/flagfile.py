"""Settings as absl flags, and as the lines of a flagfile."""

import dataclasses
import os
import sys
import typing

from absl import flags

from tfwd.training import flag_help
from tfwd.training import rules
from tfwd.training import settings as settings_lib
from tfwd.training import usage

_DEFINE = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    tuple[str, ...]: flags.DEFINE_multi_string,
}
# Where a run goes is no part of what it computes: a replay gets its own folder
# and its own machines.
_NOT_REPLAYED = ("output_dir", "resume", "worker_hosts", "task_index", "tpu")
# Nor is how it is carried out, which may change when it is resumed.
_MAY_DIFFER = (
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
_PATHS = ("data_dir", "model_file", "norm_transfer")
_HELP = ("-h", "-help", "--helpshort", "--helpfull")


def parse(arguments, kind=settings_lib.Settings):
    """Reads `Settings` from a command line.

    Args:
        arguments: Flags without the program's name. A flag given directly
            wins over the same flag in a `--flagfile`, also one that may be
            repeated; `--help` prints all flags and leaves.
        kind: `Settings`, or another dataclass whose fields are like those.

    Returns:
        An instance of `kind`.

    Raises:
        UsageError: An unknown flag, or a value that is not allowed.
    """
    files, direct = _split(arguments)
    # absl lets the last one win, but appends flags that may be repeated.
    values, given = _parsed([*files, *direct], kind), _parsed(direct, kind)
    if values.help:
        sys.stdout.write(flag_help.text(kind))
        raise SystemExit(0)
    return kind(
        **{
            field.name: _value(
                field,
                (given if given[field.name].present else values)[
                    field.name
                ].value,
            )
            for field in dataclasses.fields(kind)
        }
    )


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
    values = flags.FlagValues()
    for field in dataclasses.fields(kind):
        _define(field, values)
    flags.DEFINE_bool("help", False, "print the flags", flag_values=values)
    try:
        rest = values(["tfwd", *arguments])[1:]
    except flags.Error as error:
        raise usage.UsageError(" ".join(str(error).split())) from None
    except UnicodeDecodeError as error:
        files = [each for each in arguments if each.startswith("--flagfile=")]
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


def lines(settings):
    """The flags that replay `settings`, one line each, without the folder."""
    return [
        line
        for field in dataclasses.fields(settings)
        if field.name not in _NOT_REPLAYED
        for line in _lines_of(field, getattr(settings, field.name))
    ]


def differences(settings, other_lines):
    """Where `lines(settings)` and a flags.txt do not describe the same run.

    Returns:
        Tuples (flag name, text there, text here), without the flags that say
        how the run is carried out: devices, places, checkpoints.
    """
    # A flag that an earlier version did not have has its default there.
    there = _by_name(lines(settings_lib.Settings())) | _by_name(other_lines)
    here = _by_name(lines(settings))
    return [
        (
            name,
            *(",".join(each.get(name, ["<unset>"])) for each in (there, here)),
        )
        for name in dict.fromkeys([*here, *there])
        if there.get(name) != here.get(name) and name not in _MAY_DIFFER
    ]


def _define(field, values):
    text = field.metadata["help"]
    kind = rules.kind_of(field)
    default = field.default
    if typing.get_args(kind):
        default = [str(each) for each in default]
    define = flags.DEFINE_list if _is_list(field) else _DEFINE[kind]
    define(field.name, default, text, flag_values=values)


def _is_list(field):
    """Whether one flag holds all values: numbers, or some of a few names."""
    kind = rules.kind_of(field)
    return kind == tuple[int, ...] or (
        kind == tuple[str, ...] and "choices" in field.metadata
    )


def _value(field, value):
    kind = rules.kind_of(field)
    if kind == tuple[int, ...]:
        try:
            return tuple(int(each) for each in value)
        except ValueError:
            rules.refuse(
                field.name,
                "must be whole numbers, e.g. 80,160",
                ",".join(value),
            )
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
