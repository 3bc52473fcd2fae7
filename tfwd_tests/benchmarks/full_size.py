"""Takes the first steps of the papers' models at full size.

    python -m tfwd_tests.benchmarks.full_size

Each model is built and trained as the binary does it, in a process of its own,
whose peak memory is therefore the model's. Prints a table and judges nothing.
The TensorFlow backend.
"""

import argparse
import concurrent.futures.process
import dataclasses
import math
import multiprocessing
import os
import resource
import time

import keras
import numpy as np
import tensorflow as tf

from tfwd import data
from tfwd import models
from tfwd.data import text
from tfwd.training.config import settings as settings_lib
from tfwd_tests.benchmarks import in_memory

STEPS = 3
AIM = "<= 24 GiB"


@dataclasses.dataclass(frozen=True)
class Case:
    """A model as a paper trains it.

    Attributes:
        model: Name of the model.
        num_classes: Its outputs per prediction.
        optimizer: Name of the optimizer.
        width: Multiplies the channels.
        batch_size: Images, or streams of the text.
    """

    model: str
    num_classes: int
    optimizer: str = "adams"
    width: float = 1.0
    batch_size: int = 128


CASES = {
    "resnet32x4": Case("resnet32", 10, width=4.0),
    "resnet18": Case("resnet18", 10),
    "densenet121": Case("densenet121", 100),
    "googlenet": Case("googlenet", 100),
    "lstm": Case("lstm", 10_000, batch_size=20),
    "resnet32x4-kfac": Case("resnet32", 10, "kfac", width=4.0),
}


def quick(case):
    """Returns the case at a size that is done at once, but for tracing."""
    return dataclasses.replace(case, width=case.width / 32, batch_size=4)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What the process of a case reports.

    Attributes:
        parameters: Trained ones of the model.
        first: Seconds of the first step, with all that is compiled for it.
        steps: Seconds of each of the timed steps.
        with_factors: Seconds of a step with K-FAC's factors; None for others.
        with_inverses: Those of a step with factors and all inverses.
        losses: Mean losses of the first and of the last of these steps.
        peak: The most memory that was resident, in bytes.
    """

    parameters: int
    first: float
    steps: tuple[float, ...]
    with_factors: float | None
    with_inverses: float | None
    losses: tuple[float, float]
    peak: int


def random_text(num_words, num_streams, bptt, num_segments):
    """Returns a `Text` of random words.

    Args:
        num_words: Of the vocabulary.
        num_streams: Batch size.
        bptt: Words per segment and stream.
        num_segments: Steps of an epoch.
    """
    generator = np.random.default_rng(1)
    size = num_streams * bptt * num_segments + 1
    tokens = generator.integers(num_words, size=size, dtype=np.int32)
    short = tokens[: num_streams + 1]
    vocabulary = tuple(map(str, range(num_words)))
    return text.Text("ptb", tokens, short, short, vocabulary, bptt)


def load(case, settings):
    """Returns the data of a case: those of CIFAR-10, or random.

    A model of more classes keeps its outputs; the others are no one's label.
    """
    if settings.data.dataset == "ptb":
        return random_text(
            case.num_classes,
            case.batch_size,
            settings.data.bptt,
            num_segments=10,
        )
    if settings.data.data_dir is None:
        return in_memory.random_splits(
            "cifar10", (32, 32, 3), case.num_classes, 10 * case.batch_size
        )
    source = data.load("cifar10", data_dir=settings.data.data_dir)
    return dataclasses.replace(source, num_classes=case.num_classes)


def measure(case, data_dir=None):
    """Builds and trains a model, and returns the `Measurement`."""
    is_text = models.task(case.model) == "language_model"
    settings = settings_lib.Settings(
        dataset="ptb" if is_text else "cifar10",
        data_dir=None if is_text else data_dir,
        augment=not is_text,
        model=case.model,
        width=case.width,
        optimizer=case.optimizer,
        batch_size=case.batch_size,
    )
    trained = in_memory.make_training(settings, load(case, settings))
    iterator, losses = iter(trained.batches(0)), []

    def seconds(number):
        start = time.perf_counter()
        done = trained.loop.advance(iterator, number, 1)
        losses.append(done.loss / done.predictions)
        return time.perf_counter() - start

    trained.loop.start_epoch()
    first = seconds(0)
    with_factors = with_inverses = None
    number = 1
    if case.optimizer == "kfac":
        # Steps without work are another program.
        seconds(1)
        number = 2
    steps = tuple(seconds(number + each) for each in range(STEPS))
    last = losses[-1]
    if case.optimizer == "kfac":
        # Their first ones were compiled.
        with_factors = seconds(trained.optimizer.factor_every)
        with_inverses = seconds(0)
    # In KiB, on Linux. It counts what the parent held when it started this
    # process too: the same imports, and nothing else.
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measurement(
        sum(math.prod(v.shape) for v in trained.model.trainable_variables),
        first,
        steps,
        with_factors,
        with_inverses,
        (losses[0], last),
        peak,
    )


def measured_apart(case, data_dir):
    """Returns the `Measurement` of a new process, or None if it was killed."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(measure, case, data_dir).result()
        except concurrent.futures.process.BrokenProcessPool:
            return None


def header():
    """Returns the line above the rows."""
    return (
        f"{'model':<17}{'optimizer':<10}{'batch':>5}{'parameters':>11}"
        f"{'first, s':>9}"
        f"  {'three steps, s':<22}{'peak GiB':>9}  loss, first and last"
    )


def rows(name, case, measured):
    """Returns the lines of a case."""
    if measured is None:
        return [f"{name:<17}{case.optimizer:<10} was killed: out of memory?"]
    steps = " ".join(f"{each:6.3f}" for each in measured.steps)
    first, last = measured.losses
    lines = [
        f"{name:<17}{case.optimizer:<10}{case.batch_size:>5}"
        f"{measured.parameters:>11}{measured.first:>9.2f}  {steps:<22}"
        f"{measured.peak / 2**30:>9.2f}  {first:.4f} {last:.4f}"
    ]
    if measured.with_inverses is not None:
        lines.append(
            f"{'':<17}a step with factors {measured.with_factors:.3f} s, with "
            f"factors and all inverses {measured.with_inverses:.3f} s"
        )
    return lines


def report(cases, data_dir):
    """Yields the lines of the whole report as they are measured."""
    yield (
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, "
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start; "
        f"aim of the peak {AIM}; "
        f"{'images of ' + data_dir if data_dir else 'random images'}"
    )
    yield header()
    for name, case in cases.items():
        yield from rows(name, case, measured_apart(case, data_dir))


def main(arguments=None):
    """Prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(CASES))
    parser.add_argument("--data_dir", help="folder of TFDS data sets")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the program"
    )
    options = parser.parse_args(arguments)
    names = options.models.split(",")
    if not set(names) <= set(CASES):
        parser.error(
            f"`--models` must be of {','.join(CASES)}. Received: "
            f"models={options.models}"
        )
    if keras.backend.backend() != "tensorflow":
        parser.error(
            "`KERAS_BACKEND` must be tensorflow. Received: "
            f"KERAS_BACKEND={keras.backend.backend()}"
        )
    cases = {name: CASES[name] for name in names}
    if options.quick:
        cases = {name: quick(case) for name, case in cases.items()}
    for line in report(cases, options.data_dir):
        print(line, flush=True)


if __name__ == "__main__":
    main()
