"""Flags as the lines of a file, which replay them, and what differs."""

import os

from tfwd.training.config import effects
from tfwd.training.config import fields
from tfwd.training.config import rules

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


def lines(settings):
    """The flags that replay `settings`, one line each, without the folder.

    Flags without effect are left out, and the weight decay is the one used.
    """
    # Needs TensorFlow, which reading flags does not wait for.
    from tfwd.training.setup import optimization as optimizer_lib

    values = fields.values(settings)
    left_out = {*_NOT_REPLAYED, *effects.without_effect(values)}
    values["weight_decay"] = optimizer_lib.weight_decay(settings)
    return [
        line
        for field in fields.of(settings)
        if field.name not in left_out
        for line in lines_of(field, values[field.name])
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
    (value,) = by_name(run_lines).get("weight_decay", [None])[-1:]
    if settings.optimizer.weight_decay is not None or value is None:
        return settings
    try:
        return settings.replace(weight_decay=float(value))
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
    there = by_name(
        line
        for field in fields.of(settings)
        for line in lines_of(
            field, _FORMER_DEFAULTS.get(field.name, field.default)
        )
    )
    there |= by_name(other_lines)
    here = by_name(lines(completed(settings, other_lines)))
    ignored = {
        *MAY_DIFFER,
        *_NOT_REPLAYED,
        *effects.without_effect(fields.values(settings)),
    }
    return different(there, here, ignored)


def different(there, here, ignored):
    """Returns (name, text there, text here) of flags with other values.

    Args:
        there: {flag: its values, as texts}; what is not in it is not set.
        here: Likewise.
        ignored: Names that are left out.
    """
    return [
        (
            name,
            *(",".join(each.get(name, ["<unset>"])) for each in (there, here)),
        )
        for name in dict.fromkeys([*here, *there])
        if there.get(name) != here.get(name) and name not in ignored
    ]


def lines_of(field, value):
    """The lines of one flag: none for None, one per value of several."""
    if value is None:
        return []
    kind = rules.kind_of(field)
    if field.name in _PATHS:
        value = os.path.abspath(os.path.expanduser(value))
    if is_list(field):
        value = ",".join(map(str, value))
    elif kind == tuple[str, ...]:
        return [f"--{field.name}={each}" for each in value]
    if kind is bool:
        value = str(value).lower()
    return [f"--{field.name}={value}"]


def by_name(flag_lines):
    """Returns {flag: its values, as texts}."""
    result = {}
    for line in flag_lines:
        name, _, value = line.strip().removeprefix("--").partition("=")
        if name:
            result.setdefault(name, []).append(value)
    return result


def is_list(field):
    """Whether one flag holds all values: numbers, or some of a few names."""
    kind = rules.kind_of(field)
    return kind == tuple[int, ...] or (
        kind == tuple[str, ...] and "choices" in field.metadata
    )
