"""Times the optimizers against Keras' own, on the same variables, in one run.

    python -m tfwd_tests.benchmarks.optimizers

Prints medians, never fails on them. Ours and Keras' step alternate, so that a
busy machine slows both alike; the ratio is the median of the ratios of
neighbours, with its quartiles. On the TensorFlow backend.
"""

import argparse
import dataclasses
import os
import time

import keras
import numpy as np
import tensorflow as tf

import tfwd
from tfwd import models
from tfwd.optimizers import weight_decay

OPTIMIZERS = {
    "SGDS": lambda: tfwd.SGDS(1e-3, weight_decay=5e-4),
    "AdamS": lambda: tfwd.AdamS(1e-3, weight_decay=5e-4),
    "AdamW": lambda: tfwd.AdamW(1e-3, weight_decay=4e-3),
    "AMSGradS": lambda: tfwd.AMSGradS(1e-3, weight_decay=5e-4),
    "AdaiS": lambda: tfwd.AdaiS(1e-3, weight_decay=5e-4),
    "keras SGD": lambda: keras.optimizers.SGD(
        1e-3, momentum=0.9, weight_decay=5e-4
    ),
    "keras AdamW": lambda: keras.optimizers.AdamW(1e-3, weight_decay=4e-3),
    "keras AMSGrad": lambda: keras.optimizers.Adam(
        1e-3, amsgrad=True, weight_decay=4e-3
    ),
}

# Ours, Keras', and the highest ratio that is aimed at, if any is.
BARE_PAIRS = (
    ("SGDS", "keras SGD", 1.05),
    ("AdamS", "keras AdamW", 1.25),
    ("AdamW", "keras AdamW", None),
    ("AMSGradS", "keras AMSGrad", None),
    ("AdaiS", "keras AdamW", None),
)
TRAIN_PAIRS = (
    ("SGDS", "keras SGD", 1.05),
    ("AdamS", "keras AdamW", 1.02),
)


@dataclasses.dataclass(frozen=True)
class Size:
    """How much work is timed: kernels are [side, side], images 32 x 32 x 3."""

    side: int
    width: float
    batch_size: int


FULL = Size(side=2000, width=0.25, batch_size=128)
QUICK = Size(side=20, width=1 / 64, batch_size=2)


def make_variables(side):
    """Returns nine variables: 20 million elements at a side of 2000."""
    shapes = [(side, side)] * 4 + [(side // 2, 2 * side)] + [(side,)] * 4
    return [keras.Variable(keras.random.normal(shape)) for shape in shapes]


def bare_update(optimizer, variables, gradients, jit_compile):
    """Returns a function that updates the variables once."""
    optimizer.build(variables)

    @tf.function(jit_compile=jit_compile)
    def update(gradients):
        optimizer.apply(gradients, variables)

    return lambda: update(gradients)


def train_step(optimizer, model, images, labels):
    """Returns a function that trains the model for one step."""
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
        variables = model.trainable_variables
        optimizer.apply(
            tape.gradient(loss, [v.value for v in variables]), variables
        )

    return lambda: step(images, labels)


def seconds(function):
    """Returns the time of one call, on any device."""
    start = time.perf_counter()
    function()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - start


def alternating_seconds(functions, repeats):
    """Returns times [repeats, functions], each function warmed up twice."""
    for function in functions * 2:
        function()
    return np.array([[seconds(f) for f in functions] for _ in range(repeats)])


def table(title, pairs, make_step, repeats):
    """Returns the lines of a table; `make_step` maps an optimizer to a step."""
    lines = [
        f"{title:<30}{'ours':>9}{'keras':>9}{'ratio':>8}  "
        f"{'quartiles':<13}{'aim':>7}"
    ]
    for ours, theirs, aim in pairs:
        steps = [make_step(OPTIMIZERS[name]()) for name in (ours, theirs)]
        times = alternating_seconds(steps, repeats)
        our_ms, keras_ms = 1000 * np.median(times, axis=0)
        low, ratio, high = np.quantile(
            times[:, 0] / times[:, 1], (0.25, 0.5, 0.75)
        )
        lines.append(
            f"{f'{ours} / {theirs}':<30}{our_ms:>9.2f}{keras_ms:>9.2f}"
            f"{ratio:>8.3f}  {f'{low:.3f}-{high:.3f}':<13}"
            f"{f'<= {aim}' if aim else '':>7}"
        )
    return lines


def state_size(name, variables):
    """Returns elements and bytes of an optimizer's variables, once built."""
    optimizer = OPTIMIZERS[name]()
    optimizer.build(variables)
    arrays = [keras.ops.convert_to_numpy(v) for v in optimizer.variables]
    return sum(a.size for a in arrays), sum(a.nbytes for a in arrays)


def mean_errors(variables):
    """Returns the relative error of the global mean, by kind of program.

    Of the squares of normal numbers, whose spread over the elements is that of
    a second moment; the truth is NumPy's, in float64.
    """
    tensors = [tf.square(variable.value) for variable in variables]
    truth = np.concatenate([np.ravel(t) for t in tensors]).mean(dtype="float64")
    return {
        kind: float(tf.function(weight_decay.global_mean, **options)(tensors))
        / truth
        - 1
        for kind, options in (("plain", {}), ("jit", {"jit_compile": True}))
    }


def report(size, repeats, jit_compile):
    """Returns the lines of the whole report."""
    keras.utils.set_random_seed(1)
    variables = make_variables(size.side)
    errors = mean_errors(variables)
    state = {n: state_size(n, variables) for n in ("AdamS", "keras AdamW")}
    elements, byte_count = np.subtract(state["AdamS"], state["keras AdamW"])
    gradients = [keras.random.normal(v.shape) for v in variables]
    model = models.build("vgg16", (32, 32, 3), 10, width=size.width)
    images = keras.random.normal((size.batch_size, 32, 32, 3))
    labels = tf.range(size.batch_size) % 10
    return [
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, "
        f"{os.cpu_count()} CPUs, {len(tf.config.list_physical_devices('GPU'))} "
        f"GPUs; {repeats} repeats, medians in ms",
        "",
        *table(
            f"bare update{', jit' if jit_compile else ''}",
            BARE_PAIRS,
            lambda o: bare_update(o, variables, gradients, jit_compile),
            repeats,
        ),
        "",
        *table(
            "train step",
            TRAIN_PAIRS,
            lambda o: train_step(o, model, images, labels),
            repeats,
        ),
        "",
        f"state: AdamS - keras AdamW = {elements} numbers, {byte_count} bytes "
        f"of {state['AdamS'][1]}",
        *(
            f"global mean, {kind}: relative error {error:.1e}"
            for kind, error in errors.items()
        ),
    ]


def main(arguments=None):
    """Prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument(
        "--jit", action="store_true", help="compile the bare update with XLA"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the program"
    )
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(
            f"`--repeats` must be at least 1. Received: {options.repeats}"
        )
    if keras.backend.backend() != "tensorflow":
        parser.error(
            "`KERAS_BACKEND` must be tensorflow. Received: "
            f"KERAS_BACKEND={keras.backend.backend()}"
        )
    size = QUICK if options.quick else FULL
    print("\n".join(report(size, options.repeats, options.jit)))


if __name__ == "__main__":
    main()
