"""What a run writes down: metrics.csv, run.json, the table."""

import csv
import json
import platform
import warnings

import keras
import tensorflow as tf

from tfwd import csv_lines
from tfwd import durable
from tfwd.training.config import columns as columns_lib


class MetricsFile:
    """A CSV file that gets a row per epoch, or so many steps, on disk at once.

    Floats are written with all their digits, so that equal runs give equal
    bytes; a value that does not exist (no validation split) is left empty.

    A file that is gone on with keeps the rows of the checkpoint. If it does
    not have all of them whole, or has other columns, its whole rows are kept
    by the names of their columns, the file itself is set aside, and a warning
    says so.

    Args:
        path: The file.
        columns: Their names, "step" among them.
        rows: How many rows the checkpoint has counted.
        last_step: The step of the checkpoint; rows of later ones go.

    Attributes:
        rows: How many rows of the file were kept.

    Raises:
        OSError: The file cannot be read or written; it is as it was.
    """

    def __init__(
        self, path, columns=columns_lib.COLUMNS, rows=0, last_step=None
    ):
        kept = _kept(path, columns, rows, last_step) if rows else []
        self.rows = len(kept)
        text = csv_lines.header(columns) + csv_lines.text(columns, kept)
        durable.write_text(path, text)
        self._columns = columns
        self._file = path.open("a", encoding="utf-8", newline="")

    def append(self, row):
        """Writes one row, a dict with the columns as keys."""
        unknown = sorted(row.keys() - set(self._columns))
        if unknown:
            raise ValueError(
                "`row` must have the columns of the file alone. "
                f"Received: {unknown}"
            )
        durable.append(self._file, csv_lines.text(self._columns, [row]))

    def close(self):
        """Closes the file."""
        self._file.close()


def _kept(path, columns, rows, last_step):
    """The rows up to a step, {column: text}."""
    header, found = (), []
    if path.exists():
        header, found, _ = csv_lines.salvaged(path, _is_row)
    if last_step is not None:
        found = [row for row in found if float(row["step"]) <= last_step]
    found = found[:rows]
    if header != tuple(columns) or len(found) < rows:
        place = "it is not there"
        if path.exists():
            place = f"as it was it is {durable.set_aside(path)}"
        warnings.warn(
            f"{path} should have {rows} rows of the columns "
            f"{','.join(columns)}; {len(found)} of them could be kept, and "
            f"{place}",
            stacklevel=3,
        )
    return [{name: row.get(name) for name in columns} for row in found]


def _is_row(values):
    if not values.get("step"):
        return False
    try:
        [float(text) for text in values.values() if text]
    except ValueError:
        return False
    return True


def read(path):
    """The rows of a metrics.csv, values as floats, empty ones as `None`."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: float(text) if text else None for name, text in row.items()}
            for row in csv.DictReader(file)
        ]


def description(
    version,
    strategy,
    model,
    optimizer,
    selection,
    input_speed,
    registration=None,
):
    """What is worth knowing of a run beyond its flags, ready for JSON.

    Args:
        version: tfwd's version.
        strategy: The `tf.distribute.Strategy`.
        model: The built model.
        optimizer: The optimizer, built on the model's trainable variables.
        selection: The metric by which best.keras is chosen.
        input_speed: Examples per second of the input pipeline alone.
        registration: What K-FAC's `attach` reported; None for others.

    Returns:
        A dict of versions, devices, parameter counts, the optimizer's config,
        the paths that decay (with the factor of lambda) or do not, and the
        lines of the registration.
    """
    factors = dict(
        zip(
            (variable.path for variable in model.trainable_variables),
            optimizer.weight_decay_factors,
            strict=True,
        )
    )
    return {
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "tfwd": version,
        },
        "strategy": type(strategy).__name__,
        "replicas": strategy.num_replicas_in_sync,
        "devices": [device.name for device in tf.config.list_logical_devices()],
        "parameters": model.count_params(),
        "trainable_parameters": sum(
            int(variable.value.shape.num_elements())
            for variable in model.trainable_variables
        ),
        "optimizer": keras.saving.serialize_keras_object(optimizer),
        "decayed": {path: each for path, each in factors.items() if each},
        "excluded": [path for path, each in factors.items() if not each],
        "best_by": selection,
        "input_examples_per_second": input_speed,
        "registration": str(registration).splitlines()
        if registration is not None
        else None,
    }


def as_json(value):
    """Indented JSON text, with a line end."""
    return json.dumps(value, indent=2) + "\n"


def table(rows, weight_norm=None):
    """The final table: one line per split, then the norm of the weights.

    Args:
        rows: {split name: {"loss": ..., "accuracy": ..., ...}}, each with the
            same measures.
        weight_norm: 2-norm of all trainable variables, None to leave it out.

    Returns:
        Text of a few lines.
    """
    names = next(iter(rows.values()))
    lines = [f"{'':12}" + "".join(f"{name:>{_width(name)}}" for name in names)]
    lines += [
        f"{split:12}"
        + "".join(f"{value:{_width(name)}.4f}" for name, value in row.items())
        for split, row in rows.items()
    ]
    if weight_norm is not None:
        lines.append(f"{'weight norm':12}{weight_norm:10.4f}")
    return "\n".join(lines)


def _width(name):
    return max(10, len(name) + 2)
