"""Times the optimizers against Keras' own, on the same variables, in one run.

    python -m tfwd_tests.benchmarks.optimizers

Prints a table and judges nothing. The TensorFlow backend.
"""

import argparse
import os

import keras
import numpy as np
import tensorflow as tf

import tfwd
from tfwd import models
from tfwd.optimizers import weight_decay
from tfwd_tests.benchmarks import timing

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
    variables = model.trainable_variables
    optimizer.build(variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            value = loss(labels, model(images, training=True))
        gradients = tape.gradient(value, [v.value for v in variables])
        optimizer.apply(gradients, variables)

    return lambda: step(images, labels)


def rows(pairs, make_step, repeats):
    """Returns a line per pair; `make_step` maps an optimizer to a step."""
    lines = []
    for ours, theirs, aim in pairs:
        steps = [make_step(OPTIMIZERS[name]()) for name in (ours, theirs)]
        seconds = timing.alternating_seconds(steps, repeats)
        lines.append(timing.row(f"{ours} / {theirs}", seconds, aim))
    return lines


def state_shapes(name, variables):
    """Returns the shapes of an optimizer's variables, once it is built."""
    optimizer = OPTIMIZERS[name]()
    optimizer.build(variables)
    return [tuple(variable.shape) for variable in optimizer.variables]


def mean_errors(variables):
    """Returns lines with the relative error of the global mean.

    Of the squares of normal numbers, which spread as a second moment does; as
    they are and as one matrix, the hardest for a sum in float32. The truth is
    NumPy's, in float64.
    """
    tensors = [tf.square(variable.value) for variable in variables]
    flat = tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)
    truth = flat.numpy().mean(dtype="float64")
    matrix = tf.reshape(flat, [-1, variables[0].shape[0]])
    lines = []
    for name, parts in (("nine tensors", tensors), ("one matrix", [matrix])):
        for options in ({}, {"jit_compile": True}):
            mean = tf.function(weight_decay.global_mean, **options)(parts)
            lines.append(
                f"global mean, {name}{', jit' if options else ''}: "
                f"relative error {float(mean) / truth - 1:.1e}"
            )
    return lines


def report(side, name, width, batch_size, repeats, jit_compile):
    """Returns the lines of the whole report."""
    keras.utils.set_random_seed(1)
    variables = make_variables(side)
    accuracy = mean_errors(variables)
    gradients = [keras.random.normal(v.shape) for v in variables]
    model = models.build(name, (32, 32, 3), 10, width=width)
    images = keras.random.normal((batch_size, 32, 32, 3))
    labels = tf.range(batch_size) % 10
    ours, theirs = (
        sum(int(np.prod(shape)) for shape in state_shapes(name, variables))
        for name in ("AdamS", "keras AdamW")
    )
    return [
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, "
        f"{os.cpu_count()} CPUs, {len(tf.config.list_physical_devices('GPU'))} "
        f"GPUs; medians of {repeats} in ms",
        timing.header(f"bare update{', jit' if jit_compile else ''}"),
        *rows(
            BARE_PAIRS,
            lambda o: bare_update(o, variables, gradients, jit_compile),
            repeats,
        ),
        timing.header("train step"),
        *rows(
            TRAIN_PAIRS,
            lambda o: train_step(o, model, images, labels),
            repeats,
        ),
        f"state: AdamS holds {ours - theirs} numbers more than the {theirs} "
        "of keras AdamW",
        *accuracy,
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
            "`--repeats` must be at least 1. Received: "
            f"repeats={options.repeats}"
        )
    if keras.backend.backend() != "tensorflow":
        parser.error(
            "`KERAS_BACKEND` must be tensorflow. Received: "
            f"KERAS_BACKEND={keras.backend.backend()}"
        )
    size = (2000, "vgg16", 0.25, 128)
    if options.quick:
        size = (20, "mlp", 1 / 64, 2)
    print(*report(*size, options.repeats, options.jit), sep="\n")


if __name__ == "__main__":
    main()
