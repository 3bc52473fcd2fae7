"""Which layers of a model have a curvature block, and of what sizes."""

import dataclasses
import math

import keras

from tfwd import text_table
from tfwd.kfac import blocks as blocks_lib
from tfwd.kfac import capture
from tfwd.kfac import inverses
from tfwd.kfac.blocks import block as block_lib


@dataclasses.dataclass(frozen=True)
class Record:
    """What a saved optimizer knows of one block.

    Variables are known by their positions among the model's trainable
    variables: names and paths change when a model is loaded.

    Attributes:
        layer: The layer's name, or its path where names repeat; for messages.
        kind: The kind of the block.
        positions: Positions of its variables.
        factor_shapes: Shapes of its factors.
        dtype: The type of its factors.
    """

    layer: str
    kind: str
    positions: tuple[int, ...]
    factor_shapes: tuple[tuple[int, ...], ...]
    dtype: str

    def num_bytes(self, damping_mode):
        """Returns the bytes of the factors and of their cached inverses."""
        shapes = [*self.factor_shapes]
        for unit in inverses.units_of([self.factor_shapes]):
            shapes += unit.state_shapes(damping_mode)
        size = 8 if self.dtype == "float64" else 4
        return sum(math.prod(shape) for shape in shapes) * size

    def same_as(self, other):
        """Returns whether the blocks are equal, whatever the names."""
        return dataclasses.replace(self, layer=other.layer) == other


@dataclasses.dataclass(frozen=True)
class Uncovered:
    """A trainable variable without a block, and the reason."""

    path: str
    layer: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Report:
    """The registration of a model: layer, block, factor sizes, bytes.

    Attributes:
        records: A `Record` per block.
        uncovered: An `Uncovered` per variable that plain SGD moves.
        damping_mode: Damping mode of the optimizer.
    """

    records: tuple[Record, ...]
    uncovered: tuple[Uncovered, ...]
    damping_mode: str

    @property
    def num_bytes(self):
        """Bytes of all factors and inverses."""
        return sum(r.num_bytes(self.damping_mode) for r in self.records)

    def __str__(self):
        rows = [("layer", "block", "factors", "bytes")]
        for record in self.records:
            shapes = (_size(shape) for shape in record.factor_shapes)
            rows.append(
                (
                    record.layer,
                    record.kind,
                    ", ".join(shapes),
                    f"{record.num_bytes(self.damping_mode):,}",
                )
            )
        for row in self.uncovered:
            rows.append((row.path, "sgd", "-", row.reason))
        total = f"factors and inverses: {self.num_bytes / 2**20:.2f} MiB"
        return "\n".join([*text_table.lines(rows), total])


def of_model(model, on_unsupported, damping_mode):
    """Finds the blocks of a model.

    Args:
        model: A built Keras model.
        on_unsupported: "error", or "sgd" to leave variables without a block.
        damping_mode: Damping mode of the optimizer, for the report.

    Returns:
        The blocks in the order of the layers, and the `Report`.

    Raises:
        ValueError: If a trainable variable has no block, or two, and
            `on_unsupported` is "error", or an input is sparse or ragged.
    """
    _check_dense_inputs(model)
    positions = {id(v): i for i, v in enumerate(model.trainable_variables)}
    found, reasons = [], {}
    for layer in capture.layers_of(model):
        own = [
            variable
            for variable in capture.own_trainable_variables(layer)
            if id(variable) in positions
        ]
        if not own:
            continue
        try:
            found.append(blocks_lib.block_for(layer))
        except blocks_lib.UnsupportedLayerError as error:
            reasons |= {id(v): (layer.name, str(error)) for v in own}
    owners = {}
    for block in found:
        for variable in block.variables:
            owners.setdefault(id(variable), []).append(block.layer.name)
    shared = {key for key, names in owners.items() if len(names) > 1}
    kept = []
    for block in found:
        keys = {id(variable) for variable in block.variables}
        if keys & shared:
            reason = (block.layer.name, "a variable of several layers")
            reasons |= {key: reason for key in keys}
        else:
            kept.append(block)
    covered = {id(v) for block in kept for v in block.variables}
    uncovered = tuple(
        Uncovered(v.path, *reasons.get(id(v), ("", "no layer is known")))
        for v in model.trainable_variables
        if id(v) not in covered
    )
    if uncovered and on_unsupported == "error":
        listed = ", ".join(
            f"{row.path} ({row.layer}: {row.reason})" for row in uncovered
        )
        raise ValueError(
            "KFAC needs a supported layer for every trainable variable, or "
            f"on_unsupported='sgd'. Received: {listed}"
        )
    names = [block.layer.name for block in kept]
    records = tuple(
        Record(
            block.layer.name
            if names.count(block.layer.name) == 1
            else block.layer.path,
            block.kind,
            tuple(positions[id(v)] for v in block.variables),
            tuple(tuple(shape) for shape in block.factor_shapes),
            block.dtype,
        )
        for block in kept
    )
    return kept, Report(records, uncovered, damping_mode)


def changes_of(layers):
    """Returns a line on layers that run as others than they were made.

    Empty if there is none: no adapter (LoRA) and no quantization.
    """
    reasons = []
    for layer in layers:
        try:
            block_lib.check_runs_as_written(layer)
        except block_lib.UnsupportedLayerError as error:
            reasons.append(f"{layer.name}: {error}")
    return ", ".join(reasons)


def as_config(report):
    """Returns a report as a config holds it."""
    return {
        "blocks": [dataclasses.asdict(record) for record in report.records],
        "uncovered": [dataclasses.asdict(row) for row in report.uncovered],
    }


def from_config(config, damping_mode):
    """Returns the report that a config holds."""
    return Report(
        tuple(
            Record(
                record["layer"],
                record["kind"],
                tuple(record["positions"]),
                tuple(tuple(shape) for shape in record["factor_shapes"]),
                record["dtype"],
            )
            for record in config["blocks"]
        ),
        tuple(Uncovered(**row) for row in config["uncovered"]),
        damping_mode,
    )


def check_same(saved, found):
    """Checks that a model is the one that factors were kept for.

    Raises:
        ValueError: If a block differs in kind, positions, sizes or type.
    """
    if len(saved.records) == len(found.records) and all(
        one.same_as(other)
        for one, other in zip(saved.records, found.records, strict=True)
    ):
        return
    unlike = [
        record
        for some, others in ((found, saved), (saved, found))
        for record in some.records
        if not any(record.same_as(other) for other in others.records)
    ]
    raise ValueError(
        "The factors of a KFAC belong to the model it was attached to first, "
        f"of {len(saved.records)} blocks; make a new optimizer for another "
        f"model. Received: {len(found.records)} blocks, of which differ: "
        f"{', '.join(f'{r.layer} ({r.kind})' for r in unlike)}"
    )


def check_same_variables(known, variables, layers):
    """Checks that variables are those that an optimizer knows, in order.

    Args:
        known: The variables that it knows.
        variables: Those to check.
        layers: The layers with a block, whose changes the error lists.

    Raises:
        ValueError: If they are others.
    """
    if [id(v) for v in known] == [id(v) for v in variables]:
        return
    changes = changes_of(layers)
    raise ValueError(
        "KFAC must be attached to the model that it trains, after the last "
        "change of its layers and of `trainable`, and train all of it, not a "
        "part as in a `MultiOptimizer`; once built, another model needs a new "
        f"optimizer. Received: {len(variables)} variables, not the "
        f"{len(known)} it knows{f' ({changes})' if changes else ''}"
    )


def _check_dense_inputs(model):
    for tensor in keras.tree.flatten(getattr(model, "inputs", None)):
        kinds = [k for k in ("sparse", "ragged") if getattr(tensor, k, False)]
        if kinds:
            raise ValueError(
                "KFAC needs a model with dense inputs. Received: "
                f"{tensor.name}, which is {kinds[0]}"
            )


def _size(shape):
    return "×".join(str(n) for n in shape)
