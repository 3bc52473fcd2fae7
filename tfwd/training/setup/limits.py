"""Sizes that no run can have: refused before memory is asked for.

Counts are compared with the data and the run, and what a model and a batch take
at the least with the memory of the machine. What passes may still not fit:
activations, copies of other libraries and other processes are not counted, nor
is the memory of an accelerator.
"""

import math
import os

from tfwd import arguments
from tfwd.training.config import data_settings
from tfwd.training.config import effects
from tfwd.training.config import fields
from tfwd.training.config import rules
from tfwd.training.loop import activations

_FLOAT_BYTES = 4
# A parameter is there with its gradient and one moment at least.
_COPIES = 3
# Trainable parameters at width 1 with 10 classes; they grow with the square of
# the width. Those of `mlp` and `lstm` are counted.
_PARAMETERS = {
    **{"vgg11": 9.2e6, "vgg13": 9.4e6, "vgg16": 14.7e6, "vgg19": 20.0e6},
    **{"resnet20": 0.27e6, "resnet32": 0.46e6},
    **{"resnet44": 0.66e6, "resnet56": 0.85e6},
    **{"resnet18": 11.2e6, "resnet34": 21.3e6, "resnet50": 23.5e6},
    **{"resnet50_imagenet": 23.5e6, "densenet121": 7.0e6, "googlenet": 6.2e6},
}


def memory():
    """Returns the bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_data(settings, source):
    """Checks the sizes that the data set bounds.

    Raises:
        ValueError: A segment is longer than the streams of a text, or a batch
            for evaluation larger than every split.
    """
    default = data_settings.Data()
    if settings.dataset == "ptb":
        length = math.ceil(source.size("train") / settings.batch_size)
        if settings.bptt > max(length, default.bptt):
            rules.refuse(
                "bptt",
                f"must be at most the {length} words of a stream of this text",
                settings.bptt,
            )
        return
    largest = max(map(source.size, source.split_names))
    if settings.eval_batch_size > max(largest, default.eval_batch_size):
        rules.refuse(
            "eval_batch_size",
            f"must be at most the {largest} examples of the largest split",
            settings.eval_batch_size,
        )


def check_lengths(settings, steps_per_epoch):
    """Checks what is counted in steps.

    Raises:
        ValueError: An update needs more steps than an epoch has, something
            would come after the end of the run, or a step has no number.
    """
    parts = settings.optimizer.accumulation_steps
    if parts is not None and parts > steps_per_epoch:
        rules.refuse(
            "accumulation_steps",
            f"must be at most the {steps_per_epoch} steps of an epoch",
            parts,
        )
    updates_per_epoch = math.ceil(steps_per_epoch / (parts or 1))
    values = fields.values(settings)
    for name in ("epochs", "decay_epochs", "restart_epochs"):
        value = values[name]
        last = value[-1] if isinstance(value, tuple) else value
        if (
            last * updates_per_epoch > arguments.LARGEST_STEP
            and name not in effects.without_effect(values)
        ):
            rules.refuse(
                name,
                f"must end within {arguments.LARGEST_STEP} updates, of "
                f"which an epoch has {updates_per_epoch}",
                last,
            )
    updates = settings.schedule.epochs * updates_per_epoch
    every = settings.optimizer.ema_overwrite_frequency
    if every is not None and every > updates:
        rules.refuse(
            "ema_overwrite_frequency",
            f"must be at most the {updates} updates of the run",
            every,
        )


def parameters(settings, input_shape, num_classes):
    """Returns about how many trainable parameters a model will have."""
    width = settings.width
    if settings.model not in ("mlp", "lstm"):
        return _PARAMETERS[settings.model] * width**2
    layers = settings.hidden_layers
    layers = 2 if layers is None else layers
    units = settings.hidden_units
    if settings.model == "lstm":
        units = width * (512 if units is None else units)
        return 8 * layers * units**2 + 2 * units * num_classes
    units = width * (128 if units is None else units)
    ends = math.prod(input_shape) + num_classes
    return max(layers - 1, 0) * units**2 + ends * units * bool(layers)


def check_model(settings, input_shape, num_classes):
    """Checks that the machine could hold the parameters of a model.

    Raises:
        ValueError: They, their gradients and one moment are more than its
            memory.
    """
    count = parameters(settings, input_shape, num_classes)
    needed = _COPIES * _FLOAT_BYTES * count
    if needed > memory():
        name = "width" if settings.hidden_units is None else "hidden_units"
        rules.refuse(
            name,
            f"must leave a model that fits into memory, {_gib(memory())} "
            f"here; that of about {count:.2g} parameters needs "
            f"{_gib(needed)} at the least",
            fields.values(settings)[name],
        )


def check_batches(settings, model, workers=1):
    """Checks that the machine could hold the largest activation of a batch.

    Args:
        settings: `Settings`.
        model: The built model.
        workers: The processes that share a batch out.

    Raises:
        ValueError: It alone is more than its memory.
    """
    is_text = settings.data.dataset == "ptb"
    elements = max(
        math.prod(size or 1 for size in tensor.shape[1:])
        for _, tensor in activations.named(model)
    ) * (settings.data.bptt if is_text else 1)
    values = fields.values(settings)
    names = ["batch_size"] if settings.run.mode == "train" or is_text else []
    for name in [*names, *([] if is_text else ["eval_batch_size"])]:
        value = values[name]
        needed = value / workers * elements * _FLOAT_BYTES
        if needed > memory():
            rules.refuse(
                name,
                f"must leave activations that fit into memory, "
                f"{_gib(memory())} here; the largest one needs {_gib(needed)}",
                value,
            )


def _gib(count):
    return f"{count / 2**30:,.0f} GiB"
