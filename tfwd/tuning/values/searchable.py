"""Which flags of the training may be searched, and which may be linked."""

import typing

from tfwd.training.config import fields
from tfwd.training.config import rules
from tfwd.training.config import settings as settings_lib

FIELDS = {field.name: field for field in fields.of(settings_lib.Settings)}
# Of the place of a run, of how it is carried out, and of what its result is
# measured on: they make no run better than another.
_FIXED = (
    *("mode", "output_dir", "resume", "checkpoint_every", "keep_checkpoints"),
    *("step_timeout", "model_file", "dataset", "data_dir", "num_validation"),
    *("eval_batch_size", "steps_per_loop", "tensorboard", "log_every"),
    *("strategy", "num_devices", "virtual_cpus", "worker_hosts"),
    *("task_index", "tpu", "diagnostics", "diagnostics_every"),
    *("diagnostics_examples", "diagnostics_projections"),
)
_KINDS = {name: rules.kind_of(field) for name, field in FIELDS.items()}
NUMBERS = {name for name, kind in _KINDS.items() if kind in (int, float)}
WHOLE = {name for name, kind in _KINDS.items() if kind is int}
SHARES = {name for name, kind in _KINDS.items() if kind == tuple[int, ...]}
SEARCHED = {
    name
    for name, kind in _KINDS.items()
    if name not in (*_FIXED, "seed") and not typing.get_args(kind)
}
LINKED = (NUMBERS & SEARCHED) | SHARES


def check(name, text):
    """Checks that what `--search` names may be searched, if it is a flag.

    Args:
        name: Of a flag, or of anything else, which passes.
        text: The whole value of `--search`, for the message.

    Raises:
        UsageError: It is a flag that is not searched.
    """
    if name in SEARCHED or name not in FIELDS:
        return
    if name == "seed":
        rule = "must not name seed: --trials_per_cell is how many there are"
    elif name in _FIXED:
        rule = (
            f"must not name {name}, which decides where, how or on what a run "
            "is made"
        )
    elif name in SHARES:
        rule = (
            f"must not name {name}, which holds a list: link it, as by "
            f"--link={name}=0.4E,0.8E"
        )
    else:
        rule = f"must not name {name}, which holds a list"
    rules.refuse("search", rule, text)
