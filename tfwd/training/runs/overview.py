"""What a run is, in a few lines before it starts, and what its table is of."""

import collections
import math

import keras
import tensorflow as tf


def text(job, input_speed):
    """Describes a job that is about to train.

    Args:
        job: A `Job`.
        input_speed: Examples per second of the input pipeline alone.

    Returns:
        Lines of text: model, data, devices, optimizer, decay, steps.
    """
    rows = {
        "Model": _model(job),
        "Data": _data(job),
        "Devices": _devices(job),
        "Optimizer": _optimizer(job),
        "Weight decay": _decay(job.optimizer),
        "Steps": _steps(job),
        "Input pipeline": f"{input_speed:,.0f} examples/s by itself",
    }
    return "\n".join(f"{name + ':':15} {each}" for name, each in rows.items())


def of_table(job):
    """Returns a line: why the final table has other numbers than the epochs."""
    averages = job.settings.optimizer.use_ema
    parts = [
        text
        for text, applies in (
            ("moving averages of the weights", averages),
            (
                "running batch statistics",
                _has(job, keras.layers.BatchNormalization),
            ),
            ("no dropout", _has(job, keras.layers.Dropout)),
            ("no augmentation", job.settings.data.augment),
        )
        if applies
    ]
    using = f" with {', '.join(parts)}" if parts else ""
    others = " and without the moving averages" if averages else ""
    return (
        f"The table is of the final model{using}; the lines above are of each "
        f"epoch, train_loss as the mean over its steps{others}"
    )


def _model(job):
    trained = sum(
        math.prod(each.shape) for each in job.model.trainable_variables
    )
    return (
        f"{job.settings.model.model}, {job.model.count_params():,} parameters, "
        f"{trained:,} of them trained, in {job.settings.model.dtype_policy}"
    )


def _data(job):
    sizes = [
        f"{job.source.size(split):,} {split}"
        for split in job.source.split_names
    ]
    return f"{job.source.name}, {', '.join(sizes)} {_examples(job)}"


def _devices(job):
    kinds = [each.device_type for each in tf.config.list_logical_devices()]
    # The CPU is there beside all others.
    kinds = [kind for kind in kinds if kind != "CPU"] or kinds
    found = [
        f"{count} {kind}" for kind, count in collections.Counter(kinds).items()
    ]
    count = job.strategy.num_replicas_in_sync
    replicas = "1 replica" if count == 1 else f"{count} replicas"
    return f"{replicas} (--strategy={job.settings.distribution.strategy}), " + (
        f"{', '.join(found)} in this process"
    )


def _optimizer(job):
    rate = job.learning_rate(1)
    last = job.learning_rate(job.settings.schedule.epochs * job.steps_per_epoch)
    change = f" at first, {last:.3g} at last" if last != rate else ""
    return (
        f"{job.settings.optimizer.optimizer}, learning rate {rate:.3g}{change}"
    )


def _decay(optimizer):
    factors = optimizer.weight_decay_factors
    coefficient = float(keras.ops.convert_to_numpy(optimizer.weight_decay))
    decayed = sum(map(bool, factors))
    scaled = sum(factor not in (0, 1) for factor in factors)
    parts = [f"{coefficient:.3g} ({optimizer.weight_decay_mode})"]
    if optimizer.weight_decay_schedule is not None:
        parts[0] += " at first"
    parts.append(f"on {decayed} of {len(factors)} variables")
    if scaled:
        parts.append(f"{scaled} of them by a multiple")
    return ", ".join(parts)


def _steps(job):
    epochs = job.settings.schedule.epochs
    text = (
        f"{job.steps_per_epoch:,} in each of {epochs:,} epochs, "
        f"of {job.settings.data.batch_size:,} {_unit(job)}"
    )
    if job.settings.optimizer.accumulation_steps is not None:
        updates = job.update_of(job.steps_per_epoch)
        text += f"; {updates:,} updates in each epoch"
    return text


def _examples(job):
    return "words" if job.task == "language_model" else "examples"


def _unit(job):
    # Of a batch of a text, whose examples are its words.
    return "streams" if job.task == "language_model" else "examples"


def _has(job, kind):
    return any(isinstance(layer, kind) for layer in job.model.layers)
