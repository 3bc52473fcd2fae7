"""Times the optimizers against Keras' own, on the same variables, in one run.

    python -m tfwd_tests.benchmarks.optimizers

Prints a table and judges nothing; `--csv=FILE` writes it too. Any backend.
"""

import argparse
import csv
import os
import pathlib

import keras
import numpy as np

import tfwd
from tfwd import models
from tfwd.optimizers import weight_decay
from tfwd_tests.benchmarks import compiled
from tfwd_tests.benchmarks import timing

SGD, ADAMW = {"weight_decay": 5e-4}, {"weight_decay": 4e-3}
OPTIMIZERS = {
    "SGDS": lambda **more: tfwd.SGDS(1e-3, **SGD, **more),
    "AdamS": lambda **more: tfwd.AdamS(1e-3, **SGD, **more),
    "AdamW": lambda **more: tfwd.AdamW(1e-3, **ADAMW, **more),
    "AMSGradS": lambda **more: tfwd.AMSGradS(1e-3, **SGD, **more),
    "AdaiS": lambda **more: tfwd.AdaiS(1e-3, **SGD, **more),
    "keras SGD": lambda: keras.optimizers.SGD(1e-3, momentum=0.9, **SGD),
    "keras AdamW": lambda: keras.optimizers.AdamW(1e-3, **ADAMW),
    "keras AMSGrad": lambda: keras.optimizers.Adam(1e-3, amsgrad=True, **ADAMW),
}
# `skip_nonfinite=False`.
BLIND = ", blind"

# Ours, Keras', and the highest ratio that is aimed at, if any is.
BARE_PAIRS = (
    ("SGDS", "keras SGD", 1.25),
    ("AdamS", "keras AdamW", 1.25),
    ("AdamW", "keras AdamW", 1.25),
    ("AMSGradS", "keras AMSGrad", None),
    ("AdaiS", "keras AdamW", None),
    (f"SGDS{BLIND}", "keras SGD", 1.03),
    (f"AdamS{BLIND}", "keras AdamW", 1.03),
    (f"AdamW{BLIND}", "keras AdamW", 1.03),
)
TRAIN_PAIRS = (
    ("SGDS", "keras SGD", 1.02),
    ("AdamS", "keras AdamW", 1.02),
    ("AdamW", "keras AdamW", 1.02),
)
EMBEDDING_PAIRS = tuple((*pair[:2], 1.1) for pair in TRAIN_PAIRS)


def make(name):
    """Returns a new optimizer by its name in the pairs."""
    if name.endswith(BLIND):
        return OPTIMIZERS[name.removesuffix(BLIND)](skip_nonfinite=False)
    return OPTIMIZERS[name]()


def make_variables(side):
    """Returns nine variables: 20 million elements at a side of 2000."""
    shapes = [(side, side)] * 4 + [(side // 2, 2 * side)] + [(side,)] * 4
    return [keras.Variable(keras.random.normal(shape)) for shape in shapes]


def image_model(name, width, batch_size):
    """Returns a function that makes a model of images, and a batch."""
    images = np.random.default_rng(0).normal(size=(batch_size, 32, 32, 3))
    return (
        lambda: models.build(name, (32, 32, 3), 10, width=width),
        images.astype("float32"),
    )


def embedding_model(tokens, width, batch_size):
    """Returns a function that makes a model that is a table, and a batch."""

    def build():
        return keras.Sequential(
            [
                keras.Input((16,), dtype="int32"),
                keras.layers.Embedding(tokens, width),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(10),
            ]
        )

    ids = np.random.default_rng(0).integers(tokens, size=(batch_size, 16))
    return build, ids.astype("int32")


def fitting(optimizer, build, batch, jit_compile):
    """Returns a function that trains a new model by `fit`, for two steps."""
    model = build()
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    x = np.concatenate([batch, batch])
    y = np.arange(len(x)) % 10
    return lambda: model.fit(x, y, batch_size=len(batch), verbose=0)


def rows(title, pairs, make_step, repeats, bytes_of=lambda name: None):
    """Returns a dict per pair; `make_step` maps an optimizer to a step."""
    found = []
    for ours, theirs, aim in pairs:
        steps = [make_step(make(name)) for name in (ours, theirs)]
        seconds = timing.alternating_seconds(steps, repeats)
        touched = [bytes_of(name) for name in (ours, theirs)]
        found.append(
            {"what": title, "pair": f"{ours} / {theirs}", "aim": aim}
            | timing.statistics(seconds)
            | dict(zip(("ours_bytes", "keras_bytes"), touched, strict=True))
        )
    return found


def state_shapes(name, variables):
    """Returns the shapes of an optimizer's variables, once it is built."""
    optimizer = make(name)
    optimizer.build(variables)
    return [tuple(variable.shape) for variable in optimizer.variables]


def mean_errors(variables):
    """Returns lines with the relative error of the global mean.

    Of the squares of normal numbers, which spread as a second moment does; as
    they are and as one matrix, the hardest for a sum in float32. The truth is
    NumPy's, in float64.
    """
    tensors = [keras.ops.square(variable) for variable in variables]
    flat = keras.ops.concatenate([keras.ops.ravel(t) for t in tensors])
    truth = keras.ops.convert_to_numpy(flat).mean(dtype="float64")
    matrix = keras.ops.reshape(flat, (-1, variables[0].shape[0]))
    lines = []
    for name, parts in (("nine tensors", tensors), ("one matrix", [matrix])):
        for way in compiled.WAYS:
            mean = compiled.function(weight_decay.global_mean, way)(parts)
            lines.append(
                f"global mean, {name}, {way}: "
                f"relative error {float(mean) / truth - 1:.1e}"
            )
    return lines


def measured(side, image, embedding, repeats):
    """Returns the rows of all tables, and lines about state and accuracy."""
    keras.utils.set_random_seed(1)
    variables = make_variables(side)
    gradients = [keras.random.normal(v.shape) for v in variables]
    lines = mean_errors(variables)
    ours, theirs = (
        sum(int(np.prod(shape)) for shape in state_shapes(name, variables))
        for name in ("AdamS", "keras AdamW")
    )
    lines.append(
        f"state: AdamS holds {ours - theirs} numbers more than the {theirs} "
        "of keras AdamW"
    )
    found = []
    for way in compiled.WAYS:
        found += rows(
            f"bare update, {way}",
            BARE_PAIRS,
            lambda o, way=way: compiled.update(o, variables, gradients, way),
            repeats,
            lambda name: compiled.bytes_per_parameter(
                make(name), variables, gradients
            ),
        )
        for title, pairs, (build, batch) in (
            ("images", TRAIN_PAIRS, image),
            ("embedding", EMBEDDING_PAIRS, embedding),
        ):
            found += rows(
                f"two steps of fit, {title}, {way}",
                pairs,
                lambda o, build=build, batch=batch, way=way: fitting(
                    o, build, batch, way == "xla"
                ),
                max(2, repeats // 2),
            )
    return found, lines


def table(found):
    """Returns the rows as lines, with a header where another thing begins."""
    lines, title = [], None
    for row in found:
        if row["what"] != title:
            title = row["what"]
            lines.append(timing.header(title))
        line = timing.line(row["pair"], row, row["aim"])
        if row["ours_bytes"] is not None:
            line += f"  bytes {row['ours_bytes']:.1f} {row['keras_bytes']:.1f}"
        lines.append(line)
    return lines


def device():
    """Returns backend, version and devices, in words."""
    devices = keras.distribution.list_devices() or ["cpu"]
    return (
        f"{compiled.BACKEND}, Keras {keras.__version__}, {os.cpu_count()} "
        f"cores, {len(devices)} devices: {devices[0]}"
    )


def main(arguments=None):
    """Prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--csv", type=pathlib.Path, help="also writes a table")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the program"
    )
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(
            "`--repeats` must be at least 1. Received: "
            f"repeats={options.repeats}"
        )
    sizes = (2000, ("vgg16", 0.25, 128), (100_000, 200, 32))
    if options.quick:
        sizes = (20, ("mlp", 1 / 64, 2), (20, 4, 2))
    side, image, embedding = sizes
    found, lines = measured(
        side, image_model(*image), embedding_model(*embedding), options.repeats
    )
    head = f"{device()}; medians of {options.repeats} in ms"
    print(head, *table(found), *lines, sep="\n")
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["device", *found[0]])
            writer.writeheader()
            writer.writerows({"device": device(), **row} for row in found)


if __name__ == "__main__":
    main()
