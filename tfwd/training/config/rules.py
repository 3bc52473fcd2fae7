"""The rules that settings obey; each error names the flag."""

import math
import types
import typing

from tfwd.training.config import choices
from tfwd.training.config import fields
from tfwd.training.config import usage

# Everything is float32 where it is used: above this is infinity, and what is
# nearer to 0 than this is 0 there.
_LARGEST_FLOAT = (2 - 2**-23) * 2.0**127
_SMALLEST_FLOAT = 2.0**-126
# Keras divides by the logarithm of the multiplier, in float32.
_LEAST_GROWTH = 1e-3
# Above what any count is; numbers of steps made of it are int64 in TensorFlow.
_LARGEST = 2**32


def check(settings):
    """Checks every field of `settings`, then those that depend on others.

    Raises:
        ValueError: One line: the flag, the rule and the value.
    """
    check_fields(settings)
    _check_together(settings)


def check_fields(settings):
    """Checks every field of a dataclass by its type and its metadata.

    Raises:
        ValueError: One line: the flag, the rule and the value.
    """
    values = fields.values(settings)
    for field in fields.of(settings):
        if values[field.name] is not None:
            check_value(field, values[field.name])


def kind_of(field):
    """The type behind a field: `float | None` is float, tuples are tuples."""
    if isinstance(field.type, types.UnionType):
        return typing.get_args(field.type)[0]
    return field.type


def refuse(name, rule, value):
    """Raises the `UsageError` of a flag: its rule and the value received."""
    raise usage.UsageError(f"`--{name}` {rule}. Received: --{name}={value}")


def check_value(field, value):
    """Checks a value by a field's type and its metadata.

    Raises:
        ValueError: One line: the flag, the rule and the value.
    """
    kind = kind_of(field)
    element = typing.get_args(kind)[0] if typing.get_args(kind) else None
    values = value if element else (value,)
    for one in values:
        if not isinstance(one, element or kind) or (
            isinstance(one, bool) and kind is not bool
        ):
            refuse(field.name, f"must be {(element or kind).__name__}", one)
        if isinstance(one, str) and (
            not one.isprintable() or one != one.strip() or not one
        ):
            refuse(
                field.name,
                "must be one line of text without blanks around it",
                repr(one),
            )
        _check_range(field, one)


def _check_range(field, value):
    limits = field.metadata
    if value in limits.get("refused", ()):
        refuse(field.name, limits["refused"][value], value)
    if "choices" in limits and not _is_choice(value, limits):
        refuse(field.name, f"must be one of {choices_of(limits)}", value)
    if type(value) is int and value >= _LARGEST:
        refuse(field.name, f"must be below {_LARGEST}", value)
    if isinstance(value, float) and not math.isfinite(value):
        refuse(field.name, "must be finite", value)
    if isinstance(value, float) and not fits_float32(value):
        refuse(
            field.name,
            f"must be 0, or between {_SMALLEST_FLOAT:.3g} and "
            f"{_LARGEST_FLOAT:.3g} as float32 is",
            value,
        )
    for word, broken in (
        ("at_least", lambda limit: value < limit),
        ("above", lambda limit: value <= limit),
        ("at_most", lambda limit: value > limit),
        ("below", lambda limit: value >= limit),
    ):
        if word in limits and broken(limits[word]):
            refuse(
                field.name,
                f"must be {word.replace('_', ' ')} {limits[word]:g}",
                value,
            )


def choices_of(limits):
    """Returns what a field may be, listed, of its metadata."""
    form = limits["form"][:1] if "form" in limits else ()
    return ", ".join((*limits["choices"], *form))


def _is_choice(value, limits):
    has_form = "form" in limits and limits["form"][1](value)
    return has_form or value in limits["choices"]


def fits_float32(value):
    """Returns whether float32 has a number without making it 0 or inf."""
    return value == 0 or _SMALLEST_FLOAT <= abs(value) <= _LARGEST_FLOAT


def _check_together(settings):
    if (settings.run.mode == "eval") != (settings.run.model_file is not None):
        refuse(
            "model_file",
            "is needed by --mode=eval and used by it alone",
            settings.run.model_file,
        )
    epochs = settings.schedule.decay_epochs
    if not epochs or list(epochs) != sorted({e for e in epochs if e > 0}):
        refuse(
            "decay_epochs",
            "must be increasing integers above 0",
            ",".join(map(str, epochs)),
        )
    if settings.schedule.warmup_epochs > settings.schedule.epochs:
        refuse(
            "warmup_epochs",
            f"must be at most --epochs={settings.schedule.epochs}",
            settings.schedule.warmup_epochs,
        )
    values = fields.values(settings)
    clips = ("clipnorm", "clipvalue", "global_clipnorm")
    given = [name for name in clips if values[name] is not None]
    if len(given) > 1:
        refuse(given[1], f"excludes --{given[0]}", values[given[1]])
    if (settings.distribution.worker_hosts is None) != (
        settings.distribution.task_index is None
    ):
        refuse(
            "task_index",
            "goes together with --worker_hosts",
            settings.distribution.task_index,
        )
    is_text = settings.data.dataset in choices.TEXTS
    if is_text != (settings.model.model in choices.LANGUAGE_MODELS):
        refuse(
            "model",
            "must be lstm for --dataset=ptb and for it alone",
            settings.model.model,
        )
    if is_text and settings.optimizer.optimizer == "kfac":
        refuse(
            "optimizer",
            "must not be kfac for --model=lstm, whose recurrent layers have "
            "no curvature there",
            settings.optimizer.optimizer,
        )
    if (
        settings.optimizer.label_smoothing
        and settings.kfac.curvature == "empirical"
    ):
        refuse(
            "label_smoothing",
            "must be 0 for --curvature=empirical, which takes the labels as "
            "they are",
            settings.optimizer.label_smoothing,
        )
    if 1 < settings.schedule.restart_multiplier < 1 + _LEAST_GROWTH:
        refuse(
            "restart_multiplier",
            f"must be 1 or at least {1 + _LEAST_GROWTH:g}",
            settings.schedule.restart_multiplier,
        )
    if settings.run.resume == "must" and settings.run.output_dir is None:
        refuse("resume", "needs --output_dir", settings.run.resume)
    for text in settings.optimizer.weight_decay_multiplier:
        multiplier(text)
    _check_interventions(settings)


def _check_interventions(settings):
    first_epoch = settings.optimizer.decay_scope_from_epoch
    if first_epoch >= settings.schedule.epochs:
        refuse(
            "decay_scope_from_epoch",
            f"must be below --epochs={settings.schedule.epochs}",
            first_epoch,
        )
    first_epoch = settings.run.norm_transfer_from_epoch
    if first_epoch > settings.schedule.epochs:
        refuse(
            "norm_transfer_from_epoch",
            f"must be at most --epochs={settings.schedule.epochs}",
            first_epoch,
        )


def multiplier(text):
    """Splits `<path regular expression>=<factor>` into the two."""
    pattern, sign, factor = text.rpartition("=")
    try:
        number = float(factor)
    except ValueError:
        number = math.nan
    if not (sign and pattern and number >= 0 and fits_float32(number)):
        refuse(
            "weight_decay_multiplier",
            "must be <path regular expression>=<factor of at least 0>",
            text,
        )
    return pattern, number
