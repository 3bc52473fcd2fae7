"""Zhang et al. 2019, Figure 5, on MNIST: Jacobian, curvature, generalization.

`python -m tfwd_tests.benchmarks.jacobian_scatter --data_dir=... --runs=...`
trains sixteen networks of different depth, width, optimizer and weight decay
to 100 % training accuracy, each in a folder of its own, measures them and
prints one line for each and the correlations. A network whose folder is there
is not trained again. About a quarter of an hour on two cores.
"""

import pathlib
import subprocess
import sys

import keras
import numpy as np
from absl import app
from absl import flags

from tfwd import data
from tfwd.diagnostics import measures

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


def train(name, folder, data_dir):
    """Trains a network through the binary, unless its folder holds it."""
    if (folder / "final.keras").exists():
        return
    command = [sys.executable, "-m", "tfwd.train"]
    subprocess.run([*command, *arguments(name, folder, data_dir)], check=True)


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
        measures.squared_jacobian_norm(model, images).value,
        sum(measures.kfac_gauss_newton_norm(model, images).values()),
        measures.gauss_newton_norm(model, images).value,
        measures.fisher_rao_norm(model, images).value,
        measures.generalization_gap(model, train_data, test_data),
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


def main(_):
    """Trains what is missing and prints the scatter."""
    values = flags.FLAGS
    runs = pathlib.Path(values.runs)
    source = data.load("mnist", data_dir=values.data_dir)
    train_data, test_data = (
        _as_arrays(source, split) for split in ("train", "test")
    )
    rows = {}
    print(f"{'network':18}" + "".join(f"{name:>12}" for name in COLUMNS))
    for name in NETWORKS:
        train(name, runs / name, values.data_dir)
        model = keras.saving.load_model(runs / name / "final.keras")
        row = measured(model, train_data, test_data, values.examples)
        print(f"{name:18}" + "".join(f"{value:12.5g}" for value in row))
        # The figure is of networks that have learned every image.
        if row[0] == 1:
            rows[name] = row
    print(f"correlations over {len(rows)} networks at 100 % (logs, ranks)")
    for (x, y), (logs, ranks) in correlations(list(rows.values())).items():
        print(f"{x:>12} {y:12}{logs:8.3f}{ranks:8.3f}")


def _as_arrays(source, split):
    # 1000 divides both splits: no row is padding.
    parts = [
        (batch.inputs.numpy(), batch.labels.numpy())
        for batch in data.evaluation_batches(source, split, 1000)
    ]
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", None, "folder of TFDS data sets")
    flags.DEFINE_string("runs", None, "folder for the runs")
    flags.DEFINE_integer("examples", 10000, "training images measured")
    flags.mark_flags_as_required(["data_dir", "runs"])
    app.run(main)
