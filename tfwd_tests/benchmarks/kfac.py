"""Times K-FAC's steps against SGD on the same model, in one run.

    python -m tfwd_tests.benchmarks.kfac --peer=PYTHON

TensorFlow: a compiled training step, with `update_factors` and
`update_inverses` before it. JAX: `train_on_batch`. Prints tables and judges
nothing. With `--peer`, an interpreter that has kfac-jax, its steps are timed
in turn with ours. Only a quiet machine is fair to it: its inverses take five
times as long as alone beside two other busy processes, ours hardly longer.
"""

import argparse
import json
import os
import pathlib
import subprocess

import keras
import numpy as np

import tfwd
from tfwd_tests.benchmarks import kfac_steps
from tfwd_tests.benchmarks import timing
from tfwd_tests.benchmarks.kfac_steps import FACTOR_EVERY
from tfwd_tests.benchmarks.kfac_steps import INVERSE_EVERY

# The highest ratios that are aimed at, on two cores.
PEER_AIMS = {128: 0.45, 512: 0.8}
CONV_AIM = 1.4
INVERSE_AIM = "<= 165 ms on two cores"
STATE_AIM = 5.6


def finished(optimizer, update, *arguments):
    """Calls an update of the curvature and waits for what it assigns."""
    update(*arguments)
    if kfac_steps.BACKEND == "jax":
        import jax

        jax.block_until_ready([v.value for v in optimizer.variables])


class Peer:
    """kfac-jax in an interpreter of its own, which waits while we step."""

    def __init__(self, python, batch_size, sizes):
        script = pathlib.Path(__file__).with_name("kfac_jax_peer.py")
        self.process = subprocess.Popen(
            [
                python,
                str(script),
                f"--batch_size={batch_size}",
                f"--sizes={','.join(map(str, sizes))}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._answer()["jax"]

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"the peer ended with code {self.process.wait()}"
            )
        return json.loads(line)

    def step(self, kind):
        """Takes one step; the pipes add some 0.1 ms to it."""
        print(kind, file=self.process.stdin, flush=True)
        self._answer()

    def close(self):
        """Ends the interpreter."""
        self.process.communicate()


def timed(rounds, repeats):
    """Returns seconds [repeats] by name, all functions in turn.

    Args:
        rounds: For each program that runs, the functions by name. The first
            is called once more before, not timed: in training, a step follows
            one of its own kind and finds the caches as that left them.
        repeats: How often.
    """
    names, functions = [], []
    for group in rounds:
        names += [None, *group]
        functions += [next(iter(group.values())), *group.values()]
    seconds = timing.alternating_seconds(functions, repeats)
    return {
        name: column
        for name, column in zip(names, seconds.T, strict=True)
        if name
    }


def amortized(plain, factor, inverse):
    """Returns the mean over a period of `INVERSE_EVERY` steps."""
    inverses, factors = 1 / INVERSE_EVERY, 1 / FACTOR_EVERY
    return (
        plain * (1 - factors)
        + factor * (factors - inverses)
        + inverse * inverses
    )


def comparison(name, ours, theirs, aim=None):
    """Returns a row of the table for two columns of seconds."""
    return timing.row(name, np.stack([ours, theirs], axis=1), aim)


def step_rows(name, make_model, images, labels, repeats, peer):
    """Returns the rows of one model at one batch size."""
    batch_size = len(images)
    models = {
        "sgd": kfac_steps.compiled_model(
            make_model, tfwd.SGD(1e-4, momentum=0.9)
        ),
        "fast": kfac_steps.compiled_model(make_model, kfac_steps.kfac()),
        "plain": kfac_steps.compiled_model(make_model, kfac_steps.plain_path()),
    }
    steps = {
        key: kfac_steps.stepper(model, images, labels, key == "fast")
        for key, model in models.items()
    }
    for key in ("fast", "plain"):
        steps[key](kfac_steps.INVERSE)
    rounds = [
        {"sgd": lambda: steps["sgd"](kfac_steps.PLAIN)},
        {
            "plain": lambda: steps["fast"](kfac_steps.PLAIN),
            "factor": lambda: steps["fast"](kfac_steps.FACTOR),
            "inverse": lambda: steps["fast"](kfac_steps.INVERSE),
        },
        {"plain path": lambda: steps["plain"](kfac_steps.PLAIN)},
    ]
    if peer:
        rounds.append(
            {
                f"peer {kind}": lambda kind=kind: peer.step(kind)
                for kind in ("plain", "factor", "inverse")
            }
        )
    t = timed(rounds, repeats)
    ours = amortized(t["plain"], t["factor"], t["inverse"])
    aim = CONV_AIM if name == "conv" and batch_size == 128 else None
    lines = [
        comparison("plain step", t["plain"], t["sgd"]),
        comparison("plain step, plain path", t["plain path"], t["sgd"]),
        comparison("with factors", t["factor"], t["sgd"]),
        comparison("with factors and inverses", t["inverse"], t["sgd"]),
        comparison("amortised", ours, t["sgd"], aim),
    ]
    if peer:
        theirs = amortized(t["peer plain"], t["peer factor"], t["peer inverse"])
        lines.append(f"against kfac-jax on jax {peer.version}")
        lines += [
            comparison(kind, t[kind], t[f"peer {kind}"])
            for kind in ("plain", "factor", "inverse")
        ]
        lines.append(
            comparison("amortised", ours, theirs, PEER_AIMS.get(batch_size))
        )
    lines.append(
        f"inverse step: {1000 * np.median(t['inverse']):.1f} ms"
        + (f" (aim {INVERSE_AIM})" if name == "mlp" else "")
    )
    lines.append(state_line(name, models["fast"]))
    return lines


def state_line(name, model):
    """Returns the line with the size of the state."""
    elements = sum(int(np.prod(v.shape)) for v in model.optimizer.variables)
    ratio = elements / model.count_params()
    aim = f" (aim <= {STATE_AIM})" if name == "mlp" else ""
    return f"state: {ratio:.2f} times the parameters{aim}"


def staggered_line(make_model, images, labels, windows):
    """Returns the line about the longest step with staggered inverses.

    A step's time is the median over the windows, each of `INVERSE_EVERY`
    steps; those of one window alone would show the machine's longest pause.
    """
    model = kfac_steps.compiled_model(
        make_model, kfac_steps.kfac(stagger_inverses=True)
    )
    optimizer = model.optimizer
    step = kfac_steps.stepper(model, images, labels)
    step(0)
    numbers = range(INVERSE_EVERY, 2 * INVERSE_EVERY)
    units = [
        unit
        for number in numbers
        for unit in optimizer.schedule.before(number).inverses
    ]
    functions = [lambda number=number: step(number) for number in numbers]
    functions.append(
        lambda: finished(optimizer, optimizer.update_factors, images)
    )
    functions += [
        lambda unit=unit: finished(
            optimizer, optimizer.update_inverses, (unit,)
        )
        for unit in units
    ]
    seconds = np.median(timing.alternating_seconds(functions, windows), axis=0)
    steps, factors = seconds[:INVERSE_EVERY], seconds[INVERSE_EVERY]
    inverse = seconds[INVERSE_EVERY + 1 :].max()
    bound = 1.2 * (np.median(steps) + factors + inverse)
    return (
        f"staggered: longest step {1000 * steps.max():.1f} ms of "
        f"{INVERSE_EVERY}, median {1000 * np.median(steps):.1f}; 1.2 x (median "
        f"+ factors {1000 * factors:.1f} + costliest inverse "
        f"{1000 * inverse:.1f}) = {1000 * bound:.1f} ms"
    )


def header(title):
    """Returns the line above the rows of a table."""
    return (
        timing.header(title)
        .replace("ours", "K-FAC")
        .replace("    keras", "    other")
    )


def report(names, batch_sizes, repeats, quick, python):
    """Yields the lines of the whole report as they are measured."""
    yield (
        f"{kfac_steps.BACKEND}, Keras {keras.__version__}, "
        f"{os.cpu_count()} CPUs, load "
        f"{os.getloadavg()[0]:.1f} at the start; medians of {repeats} in ms; "
        f"factors every {FACTOR_EVERY} steps, inverses every "
        f"{INVERSE_EVERY}; the other is tfwd.SGD"
    )
    generator = np.random.default_rng(1)
    for name in names:

        def make_model(name=name):
            return kfac_steps.MODELS[name](quick)

        shape = make_model().input_shape[1:]
        for batch_size in batch_sizes:
            images = generator.normal(size=(batch_size, *shape))
            images = images.astype("float32")
            labels = generator.integers(10, size=batch_size).astype("int32")
            yield header(f"{name}, batch {batch_size}")
            peer = None
            if python and name == "mlp":
                peer = Peer(
                    python,
                    batch_size,
                    kfac_steps.QUICK_SIZES if quick else kfac_steps.SIZES,
                )
            try:
                yield from step_rows(
                    name, make_model, images, labels, repeats, peer
                )
            finally:
                if peer:
                    peer.close()
            yield staggered_line(make_model, images, labels, min(repeats, 3))


def main(arguments=None):
    """Prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--batch_sizes", default="128,512")
    parser.add_argument("--models", default=",".join(kfac_steps.MODELS))
    parser.add_argument("--peer", help="an interpreter that has kfac-jax")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the program"
    )
    options = parser.parse_args(arguments)
    batch_sizes = options.batch_sizes.split(",")
    names = options.models.split(",")
    if options.repeats < 1:
        parser.error(
            "`--repeats` must be at least 1. Received: "
            f"repeats={options.repeats}"
        )
    if not all(size.isdigit() and int(size) for size in batch_sizes):
        parser.error(
            "`--batch_sizes` must be positive integers with commas between. "
            f"Received: batch_sizes={options.batch_sizes}"
        )
    if not set(names) <= set(kfac_steps.MODELS):
        parser.error(
            f"`--models` must be of {','.join(kfac_steps.MODELS)}. Received: "
            f"models={options.models}"
        )
    if kfac_steps.BACKEND not in ("tensorflow", "jax"):
        parser.error(
            "`KERAS_BACKEND` must be tensorflow or jax. Received: "
            f"KERAS_BACKEND={kfac_steps.BACKEND}"
        )
    for line in report(
        names,
        [int(size) for size in batch_sizes],
        options.repeats,
        options.quick,
        options.peer,
    ):
        print(line, flush=True)


if __name__ == "__main__":
    main()
