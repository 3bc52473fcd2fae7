"""Zhang et al. 2019, Figure 5, on MNIST: Jacobian, curvature, generalization.

`python -m tfwd_tests.benchmarks.jacobian_scatter --data_dir=DATA --runs=RUNS
--examples=2000` trains sixteen networks of different depth, width, optimizer
and weight decay to 100 % training accuracy, each in a folder of its own,
measures them and prints one line for each and the correlations. A network whose
folder is there is not trained again. About a quarter of an hour on two cores.
"""

import argparse
import pathlib

import keras
import numpy as np

from tfwd import data
from tfwd import train as train_lib
from tfwd.diagnostics import metrics

_COMMON = (
    "--dataset=mnist --model=mlp --batch_norm=false --convention=zhang2019 "
    "--batch_size=128 --epochs=26 --schedule=step --decay_epochs=15,22"
).split()
_KFAC_G = (
    "--optimizer=kfac --curvature=gauss_newton --learning_rate=0.03 "
    "--damping=0.01"
)
_KFAC_F = (
    "--optimizer=kfac --curvature=fisher --learning_rate=0.001 "
    "--damping=0.001 --kl_clip=1e-5"
)
# (hidden layers, units, what trains them)
NETWORKS = {
    "1x256-sgd": (1, 256, "--optimizer=sgd --learning_rate=0.1"),
    "2x128-sgd": (2, 128, "--optimizer=sgd --learning_rate=0.05"),
    "3x256-sgd": (3, 256, "--optimizer=sgd --learning_rate=0.05"),
    "2x256-sgd-l2": (
        2,
        256,
        "--optimizer=sgd --learning_rate=0.05 --weight_decay=1e-4",
    ),
    "3x256-sgds": (
        3,
        256,
        "--optimizer=sgds --learning_rate=0.05 --weight_decay=1e-4",
    ),
    "1x512-adam": (1, 512, "--optimizer=adam --learning_rate=0.001"),
    "2x128-adam": (2, 128, "--optimizer=adam --learning_rate=0.001"),
    "3x256-adamw": (
        3,
        256,
        "--optimizer=adamw --learning_rate=0.001 --weight_decay=0.1",
    ),
    "2x256-adams": (
        2,
        256,
        "--optimizer=adams --learning_rate=0.001 --weight_decay=5e-5",
    ),
    "4x128-adam": (4, 128, "--optimizer=adam --learning_rate=0.001"),
    "2x128-kfac-g": (2, 128, f"{_KFAC_G} --kl_clip=1e-4"),
    "2x128-kfac-g-wd": (
        2,
        128,
        f"{_KFAC_G} --kl_clip=1e-3 --weight_decay=0.003",
    ),
    "2x128-kfac-f": (2, 128, _KFAC_F),
    "5x128-sgds": (
        5,
        128,
        "--optimizer=sgds --learning_rate=0.05 --weight_decay=3e-5",
    ),
    "4x256-sgd": (4, 256, "--optimizer=sgd --learning_rate=0.03"),
    "3x128-adamw": (
        3,
        128,
        "--optimizer=adamw --learning_rate=0.001 --weight_decay=0.1",
    ),
}
COLUMNS = ("accuracy", "jacobian", "kfac_gn", "exact_gn", "fisher_rao", "gap")
_PAIRS = (
    ("jacobian", "kfac_gn"),
    ("jacobian", "exact_gn"),
    ("jacobian", "gap"),
    ("kfac_gn", "gap"),
    ("fisher_rao", "gap"),
)


def arguments(name, folder, data_dir):
    """The binary's arguments that train a network into a folder."""
    hidden_layers, units, optimizer = NETWORKS[name]
    return [
        *_COMMON,
        f"--hidden_layers={hidden_layers}",
        f"--hidden_units={units}",
        # Of flags that are given twice the last one counts.
        "--weight_decay=0",
        *optimizer.split(),
        f"--data_dir={data_dir}",
        f"--output_dir={folder}",
    ]


def train(name, folder, data_dir, more=()):
    """Trains a network through the binary, unless its folder holds it.

    Args:
        name: Of the network.
        folder: Where the run is, or will be.
        data_dir: Folder of TFDS data sets.
        more: Further arguments of the binary, which win.

    Raises:
        SystemExit: The binary failed; with its exit code.
    """
    if (folder / "final.keras").exists():
        return
    code = train_lib.main([*arguments(name, folder, data_dir), *more])
    if code:
        raise SystemExit(code)


def measured(model, train_data, test_data, count):
    """The numbers of one network, in the order of `COLUMNS`.

    Curvature and Jacobian are of the first `count` training images, exact in
    the outputs; accuracy and gap of all images.
    """
    images, labels = train_data
    scores = model.predict(images, batch_size=2000, verbose=0)
    images = images[:count]
    return (
        float(np.mean(np.argmax(scores, -1) == labels)),
        metrics.squared_jacobian_norm(model, images).value,
        sum(metrics.kfac_gauss_newton_norm(model, images).values()),
        metrics.gauss_newton_norm(model, images).value,
        metrics.fisher_rao_norm(model, images).value,
        metrics.generalization_gap(model, train_data, test_data),
    )


def correlations(rows):
    """{(x, y): (of the logarithms, of the ranks)} of pairs of columns.

    Args:
        rows: [networks, columns], positive.
    """
    columns = dict(zip(COLUMNS, np.log(np.asarray(rows)).T, strict=True))
    return {
        (x, y): (
            np.corrcoef(columns[x], columns[y])[0, 1],
            np.corrcoef(_ranks(columns[x]), _ranks(columns[y]))[0, 1],
        )
        for x, y in _PAIRS
    }


def _ranks(values):
    return np.argsort(np.argsort(values))


def report(names, runs, data_dir, examples, more=()):
    """Yields the lines of the scatter as the networks are there.

    Args:
        names: Of the networks.
        runs: Folder of the runs.
        data_dir: Folder of TFDS data sets.
        examples: Training images measured.
        more: Further arguments of the binary.
    """
    source = data.load("mnist", data_dir=data_dir)
    train_data, test_data = (
        _as_arrays(source, split) for split in ("train", "test")
    )
    rows = {}
    yield f"{'network':18}" + "".join(f"{name:>12}" for name in COLUMNS)
    for name in names:
        train(name, runs / name, data_dir, more)
        model = keras.saving.load_model(runs / name / "final.keras")
        row = measured(model, train_data, test_data, examples)
        yield f"{name:18}" + "".join(f"{value:12.5g}" for value in row)
        # The figure is of networks that have learned every image.
        if row[0] == 1:
            rows[name] = row
    yield f"correlations over {len(rows)} networks at 100 % (logs, ranks)"
    if len(rows) > 1:
        for (x, y), (logs, ranks) in correlations(list(rows.values())).items():
            yield f"{x:>12} {y:12}{logs:8.3f}{ranks:8.3f}"


def _as_arrays(source, split):
    examples = source.examples(split)
    batch = data.Batch(examples.images, examples.labels, None, None)
    images = source.finish(batch, augment=False).inputs.numpy()
    return images, examples.labels


def main(given=None):
    """Trains what is missing and prints the scatter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data_dir", required=True, help="folder of TFDS data sets"
    )
    parser.add_argument("--runs", required=True, help="folder for the runs")
    parser.add_argument(
        "--examples", type=int, default=10000, help="training images measured"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one network, in batches of 5, to try the program",
    )
    options = parser.parse_args(given)
    for line in report(
        list(NETWORKS)[: 1 if options.quick else None],
        pathlib.Path(options.runs),
        options.data_dir,
        options.examples,
        ["--batch_size=5"] if options.quick else [],
    ):
        print(line, flush=True)


if __name__ == "__main__":
    main()
