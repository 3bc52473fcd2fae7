"""Which flag belongs to which choice: a flag without effect is refused.

A run that ignores what was asked of it is not the run that was asked for. A
number that switches something off (λ = 0, no hidden layer) is no such choice:
sweeps pass through it, and `notes` tells what it leaves without effect.
"""

from tfwd.training.config import choices
from tfwd.training.config import fields
from tfwd.training.config import rules

# Any value but none at all.
_GIVEN = object()
# Of `model`: a function of the user's, or one of the names.
_FUNCTION, _NAME = object(), object()
_IMAGES = tuple(name for name in choices.DATASETS if name != "ptb")
_NORMALIZED = tuple(name for name in choices.MODELS if name != "lstm")
_TRAINED = {"mode": ("train",)}

# Flags, and the choices one of which they need. A flag in several rows needs
# one of each.
NEEDS = (
    (("resume",), {"output_dir": _GIVEN}),
    (
        ("data_dir",),
        {
            "dataset": tuple(
                name for name in choices.DATASETS if name != "digits"
            )
        },
    ),
    (("bptt",), {"dataset": ("ptb",)}),
    # The streams of a text are rows of the state that is carried.
    (("eval_batch_size",), {"dataset": _IMAGES}),
    # A text is cut into so many streams.
    (("batch_size",), {**_TRAINED, "dataset": ("ptb",)}),
    # What is evaluated has its layers; those of one's own a module registers.
    (("model",), {**_TRAINED, "dataset": ("ptb",), "model": _FUNCTION}),
    (("width", "convention"), {"model": _NAME}),
    (("batch_norm", "sync_batch_norm"), {"model": _NORMALIZED}),
    (("sync_batch_norm",), {"batch_norm": (True,)}),
    (("hidden_layers", "hidden_units"), {"model": ("mlp", "lstm")}),
    (("dropout",), {"model": ("googlenet", "lstm")}),
    (("num_devices", "virtual_cpus"), {"strategy": ("mirrored",)}),
    (("worker_hosts", "task_index"), {"strategy": ("multi_worker",)}),
    (("tpu",), {"strategy": ("tpu",)}),
    (
        ("adaptivity", "second_moment_offset"),
        {"weight_decay_mode": ("stable",), "optimizer": ("adams", "amsgrads")},
    ),
    (
        ("decay_scope_from_epoch",),
        {"decay_scope": ("normalized", "final", "none")},
    ),
    (("ema_momentum", "ema_overwrite_frequency"), {"use_ema": (True,)}),
    (
        ("decay_epochs", "decay_factor"),
        {"schedule": ("step",), "weight_decay_schedule": ("step",)},
    ),
    (
        ("final_fraction",),
        {"schedule": ("cosine",), "weight_decay_schedule": ("cosine",)},
    ),
    (
        ("restart_epochs", "restart_multiplier"),
        {
            "schedule": ("cosine_restarts",),
            "weight_decay_schedule": ("cosine_restarts",),
        },
    ),
    (
        ("base_batch_size",),
        {"scaling_rule": ("lr", "sqrt_lr", "weight_decay")},
    ),
    (("diagnostics_every",), {"diagnostics": _GIVEN}),
    (
        ("diagnostics_examples",),
        {"diagnostics": ("jacobian", "gauss_newton", "fisher")},
    ),
    (("diagnostics_projections",), {"diagnostics": ("jacobian",)}),
    (
        ("norm_transfer_from_epoch", "norm_transfer_moments"),
        {"norm_transfer": _GIVEN},
    ),
)
# What --mode=eval heeds besides the two flags above that it may need.
_EVALUATED = (
    *("mode", "model_file", "dataset", "data_dir", "num_validation"),
    *("train_fraction", "bptt", "model", "batch_size", "eval_batch_size"),
    *("strategy", "num_devices", "virtual_cpus", "worker_hosts"),
    *("task_index", "tpu"),
)
# Of λ = 0 all modes, schedules and selections are the same.
_OF_DECAY = (
    *("weight_decay_mode", "weight_decay_schedule"),
    *("weight_decay_multiplier", "exclude_from_weight_decay"),
    *("decay_scope", "adaptivity", "second_moment_offset"),
)


def needs(name):
    """The choices that a flag of training needs, as text, empty for none."""
    return " and ".join(_text(row) for names, row in NEEDS if name in names)


def check(settings, given=()):
    """Checks that no flag is without effect.

    Args:
        settings: `Settings`.
        given: Names of flags that were given, if only with their defaults.

    Raises:
        ValueError: A flag differs from its default, or was given, and needs
            another choice. One line: the flag, the choice and the value.
    """
    values = fields.values(settings)
    for field in fields.of(settings):
        value = values[field.name]
        if value == field.default and field.name not in given:
            continue
        for row in _rows(field.name):
            if not _holds(row, values):
                rules.refuse(field.name, f"needs {_text(row)}", value)


def without_effect(values):
    """Names of the flags that change nothing, whatever their values.

    Args:
        values: {name: value} of all flags.
    """
    return {
        name
        for name in values
        if not all(_holds(row, values) for row in _rows(name))
    }


def notes(settings):
    """Yields lines on what is heeded and yet changes nothing."""
    if settings.optimizer.weight_decay == 0:
        values = fields.values(settings)
        for field in fields.of(settings):
            is_given = values[field.name] != field.default
            if field.name in _OF_DECAY and is_given:
                yield (f"--{field.name} has no effect with --weight_decay=0.0")
    yield from _schedule_notes(settings.schedule)


def _schedule_notes(settings):
    """Yields those on `Schedule` settings."""
    names = {settings.schedule, settings.weight_decay_schedule}
    late = [e for e in settings.decay_epochs if e >= settings.epochs]
    if "step" in names and late:
        which = (
            "never drops"
            if len(late) == len(settings.decay_epochs)
            else f"does not drop after {_joined(late)}"
        )
        yield (
            f"The step schedule {which}: "
            f"--decay_epochs={','.join(map(str, settings.decay_epochs))} with "
            f"--epochs={settings.epochs}"
        )
    if (
        "cosine_restarts" in names
        and settings.restart_epochs >= settings.epochs
    ):
        yield (
            "The cosine schedule never restarts: "
            f"--restart_epochs={settings.restart_epochs:g} with "
            f"--epochs={settings.epochs}"
        )


def _rows(name):
    rows = [row for names, row in NEEDS if name in names]
    return rows if name in _EVALUATED else [*rows, _TRAINED]


def _holds(row, values):
    return any(
        _is_among(values[name], allowed) for name, allowed in row.items()
    )


def _is_among(value, values):
    if values is _GIVEN:
        return value is not None and value != ()
    if values in (_FUNCTION, _NAME):
        return choices.is_function(value) == (values is _FUNCTION)
    if isinstance(value, tuple):
        return bool(set(value) & set(values))
    return value in values


def _text(row):
    return " or ".join(_condition(*each) for each in row.items())


def _condition(name, values):
    if values is _GIVEN or values == (True,):
        return f"--{name}"
    if values is _NAME:
        return f"a --{name} that is no function"
    if values is _FUNCTION:
        return f"--{name}={choices.FUNCTION}"
    return f"--{name}={_joined(values)}"


def _joined(values):
    *first, last = map(str, values)
    return f"{', '.join(first)} or {last}" if first else last
