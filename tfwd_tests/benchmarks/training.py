"""Times the training loop against Keras' `fit`, in one run.

    python -m tfwd_tests.benchmarks.training

The same model, optimizer class and batch size on both sides, on one replica.
Ours is what the binary does between two evaluations: its input pipeline, its
`Loop` with the default settings, loss and accuracy. `fit` gets images that are
already normalized, and is compiled by XLA, as Keras chooses, or not. Prints
tables and judges nothing. The TensorFlow backend.
"""

import argparse
import collections.abc
import dataclasses
import os

import keras
import numpy as np
import tensorflow as tf

from tfwd import data
from tfwd.training.config import settings as settings_lib
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.loop import epoch_metrics
from tfwd.training.setup import inputs
from tfwd.training.setup import optimization as optimizer_lib
from tfwd_tests.benchmarks import in_memory
from tfwd_tests.benchmarks import timing

OPTIMIZERS = ("adams", "sgds")
# Ours, Keras', and the lowest ratio of examples/s that is aimed at, if any is.
PAIRS = (
    ("loop", "fit, tf.data", 1.0),
    ("loop", "fit, numpy", 1.0),
    ("loop", "fit, tf.data, no XLA", None),
    ("loop, XLA", "fit, tf.data", None),
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and its data.

    Attributes:
        dataset: Its name; random images of its shape stand in for it unless
            they are the digits or there is a `data_dir`.
        shape: (height, width, channels) of these.
        size: Training examples.
        available: Training examples of the real data set.
        model: Name of the model.
        width: Its width.
        epochs: Passes in one measurement, some seconds on two cores.
    """

    dataset: str
    shape: tuple[int, int, int]
    size: int
    available: int
    model: str
    width: float
    epochs: int


CASES = {
    "digits": Case("digits", (8, 8, 1), 1437, 1437, "mlp", 1.0, 20),
    "mnist": Case("mnist", (28, 28, 1), 12_800, 60_000, "mlp", 1.0, 2),
    "cifar10": Case("cifar10", (32, 32, 3), 2560, 50_000, "vgg16", 0.25, 1),
}


def quick(case):
    """Returns the case at a size that is done at once."""
    return dataclasses.replace(case, size=16, width=1 / 64, epochs=2)


def load(case, data_dir):
    """Returns the data of a case, real where possible."""
    if case.dataset == "digits" or data_dir:
        return data.load(
            case.dataset,
            data_dir=data_dir,
            train_fraction=case.size / case.available,
        )
    return in_memory.random_splits(case.dataset, case.shape, 10, case.size)


def looped(trained, epochs):
    """Returns a function that trains by our loop for so many epochs."""
    iterator, progress = iter(trained.batches(0)), trained.progress

    def train():
        for _ in range(epochs):
            trained.loop.start_epoch()
            while progress.step_in_epoch < trained.steps_per_epoch:
                limit = min(
                    trained.settings.run.steps_per_loop,
                    trained.steps_per_epoch - progress.step_in_epoch,
                )
                progress.advance(
                    trained.loop.advance(iterator, progress.step, limit)
                )
            progress.finish_epoch(
                progress.correct / progress.examples, more_is_better=True
            )

    return train


def fitted(trained, epochs, is_tf_data, jit_compile):
    """Returns a function that trains by `fit` for so many epochs.

    Args:
        trained: Has the model, which `fit` trains, the optimizer and the data.
        epochs: How many.
        is_tf_data: Whether `fit` gets a `tf.data.Dataset`, else arrays.
        jit_compile: Argument of Keras' `compile`.
    """
    train = trained.source.train
    batch = data.Batch(train.images, train.labels, None, None)
    images = trained.source.finish(batch, augment=False).inputs.numpy()
    model, batch_size = trained.model, trained.settings.data.batch_size
    model.compile(
        optimizer=trained.optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    if is_tf_data:
        given = (
            tf.data.Dataset.from_tensor_slices((images, train.labels))
            .shuffle(len(train))
            .batch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )
        # The dataset shuffles; Keras warns where it is told to as well.
        return lambda: model.fit(given, epochs=epochs, shuffle=False, verbose=0)
    return lambda: model.fit(
        images, train.labels, batch_size, epochs=epochs, verbose=0
    )


def trainers(settings, source, epochs):
    """Returns {name: function that trains a model of its own}."""

    def make(**changes):
        return in_memory.make_training(settings.replace(**changes), source)

    def fit(is_tf_data, jit_compile):
        return fitted(make(), epochs, is_tf_data, jit_compile)

    return {
        "loop": looped(make(), epochs),
        "loop, XLA": looped(make(jit_compile=True), epochs),
        "fit, tf.data": fit(is_tf_data=True, jit_compile="auto"),
        "fit, numpy": fit(is_tf_data=False, jit_compile="auto"),
        "fit, tf.data, no XLA": fit(is_tf_data=True, jit_compile=False),
    }


def header(title):
    """Returns the line above the rows of a table."""
    return (
        f"{title:<34}{'ours':>11}{'keras':>11}{'ratio':>8}  "
        f"{'quartiles':<13}{'aim':>7}"
    )


def row(name, speeds, aim):
    """Returns a line: medians, the median of the ratios and its quartiles.

    Args:
        name: What was compared.
        speeds: Examples per second, [repeats, 2], ours first; those of one
            repeat were measured after each other.
        aim: The lowest ratio that is aimed at, or None.
    """
    ours, theirs = np.median(speeds, axis=0)
    low, ratio, high = np.quantile(
        speeds[:, 0] / speeds[:, 1], (0.25, 0.5, 0.75)
    )
    line = (
        f"{name:<34}{ours:>11.0f}{theirs:>11.0f}{ratio:>8.3f}  "
        f"{f'{low:.3f}-{high:.3f}':<13}{f'>= {aim}' if aim else '':>7}"
    )
    return line.rstrip()


def table(
    case: Case, optimizer: str, batch_size: int, repeats: int, data_dir
) -> collections.abc.Iterator[str]:
    """Yields the lines of one model and optimizer."""
    source = load(case, data_dir)
    settings = settings_lib.Settings(
        dataset=case.dataset,
        model=case.model,
        width=case.width,
        optimizer=optimizer,
        batch_size=batch_size,
    )
    functions = trainers(settings, source, case.epochs)
    seconds = timing.alternating_seconds(list(functions.values()), repeats)
    examples = case.epochs * source.size("train")
    speeds = dict(zip(functions, examples / seconds.T, strict=True))
    yield header(f"{case.model} on {case.dataset}, {optimizer}")
    for ours, theirs, aim in PAIRS:
        pair = np.stack([speeds[ours], speeds[theirs]], axis=1)
        yield row(f"{ours} / {theirs}", pair, aim)
    pipeline = inputs.training_batches(
        settings, source, strategy_lib.create(settings.distribution), step=0
    )
    # Like the loop's, the median of so many.
    alone = np.median(
        [epoch_metrics.input_speed(pipeline) for _ in range(repeats)]
    )
    share = np.median(speeds["loop"]) / alone
    yield (
        f"input pipeline by itself: {alone:.0f} examples/s; the loop takes "
        f"{share:.1%} of that"
    )


def report(cases, optimizers, batch_size, repeats, data_dir):
    """Yields the lines of the whole report as they are measured."""
    yield (
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, "
        f"{os.cpu_count()} CPUs, {len(tf.config.list_physical_devices('GPU'))} "
        f"GPUs, load {os.getloadavg()[0]:.1f} at the start; medians of "
        f"{repeats} in examples/s, batch {batch_size}, "
        f"{'data of ' + data_dir if data_dir else 'random images'}"
    )
    for case in cases:
        for optimizer in optimizers:
            yield from table(case, optimizer, batch_size, repeats, data_dir)


def main(arguments=None):
    """Prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--optimizers", default=",".join(OPTIMIZERS))
    parser.add_argument("--data_dir", help="folder of TFDS data sets")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the program"
    )
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(
            "`--repeats` must be at least 1. Received: "
            f"repeats={options.repeats}"
        )
    names, optimizers = options.cases.split(","), options.optimizers.split(",")
    if not set(names) <= set(CASES):
        parser.error(
            f"`--cases` must be of {','.join(CASES)}. Received: "
            f"cases={options.cases}"
        )
    # K-FAC's `fit` needs more than an optimizer; see benchmarks.kfac.
    known = set(optimizer_lib.OPTIMIZERS) - {"kfac"}
    if not set(optimizers) <= known:
        parser.error(
            f"`--optimizers` must be of {','.join(sorted(known))}. Received: "
            f"optimizers={options.optimizers}"
        )
    if keras.backend.backend() != "tensorflow":
        parser.error(
            "`KERAS_BACKEND` must be tensorflow. Received: "
            f"KERAS_BACKEND={keras.backend.backend()}"
        )
    cases = [CASES[name] for name in names]
    for line in report(
        [quick(case) for case in cases] if options.quick else cases,
        optimizers,
        8 if options.quick else 128,
        options.repeats,
        options.data_dir,
    ):
        print(line, flush=True)


if __name__ == "__main__":
    main()
