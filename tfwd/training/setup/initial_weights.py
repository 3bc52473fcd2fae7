"""Initial weights from another model's file: `--init_from`.

A layer is taken as a whole or not at all: where the file has one of its name,
within models that stand in the model as layers (backbone/conv1) too, with
weights of the same names and shapes. So a head for other classes stays as it
was initialized.
"""

import dataclasses
import itertools
import math
import re

import keras

from tfwd.diagnostics import keras_internals
from tfwd.training.config import rules
from tfwd.training.setup import keras_file

_MOST_NAMES = 5


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of the layers that have weights; as text a few lines.

    Attributes:
        path: The file.
        taken: Names of the layers whose weights are the file's.
        others: {name: weights here and there}, of layers that do not fit.
        missing: Names of layers that the file does not have.
        unused: Names of layers that only the file has.
        parameters: How many were taken, and how many there are.
    """

    path: object
    taken: tuple[str, ...]
    others: dict[str, str]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    parameters: tuple[int, int]

    def __str__(self):
        layers = (
            len(self.taken),
            len(self.taken + self.missing) + len(self.others),
        )
        lines = [
            "Initial weights: {:,} of {:,} layers, {:,} of {:,} parameters, "
            "from {}".format(*layers, *self.parameters, self.path)
        ]
        others = (f"{name} ({each})" for name, each in self.others.items())
        for title, names in (
            ("Taken", self.taken),
            ("Other weights, initialized anew", others),
            ("Not there, initialized anew", self.missing),
            ("Not used", self.unused),
        ):
            listed = ", ".join(names)
            if listed:
                lines.append(f"  {title}: {listed}")
        return "\n".join(lines)


def take(text, model):
    """Gives a model the weights of a file's layers.

    Args:
        text: The file, a value of `--init_from`.
        model: The built model.

    Returns:
        A `Report`.

    Raises:
        UsageError: There is no model in the file, or none of its layers fits.
    """
    path = keras_file.existing("init_from", text)
    with keras_file.warnings_later():
        found = keras_file.model_of("init_from", path)
        here, there = dict(_layers(model)), dict(_layers(found))
        fitting = [
            name
            for name in here
            if name in there and _weights(here[name]) == _weights(there[name])
        ]
        if not fitting:
            rules.refuse(
                "init_from",
                "must hold a layer of the name and shapes of one here: "
                f"{_first(here)}; it has {_first(there)}",
                path,
            )
    for name in fitting:
        for variable, value in zip(
            here[name].weights, there[name].weights, strict=True
        ):
            variable.assign(keras.ops.convert_to_numpy(value))
    return Report(
        path,
        tuple(fitting),
        {
            name: f"{_shapes(layer)} here, {_shapes(there[name])} there"
            for name, layer in here.items()
            if name in there and name not in fitting
        },
        tuple(name for name in here if name not in there),
        tuple(name for name in there if name not in here),
        (
            sum(_parameters(here[name]) for name in fitting),
            sum(map(_parameters, here.values())),
        ),
    )


def _layers(model, prefix=""):
    """Yields (name, layer) of the layers with weights."""
    for layer in model.layers:
        name = prefix + layer.name
        if keras_internals.function_of(layer) is not None:
            yield from _layers(layer, f"{name}/")
        elif layer.weights:
            yield name, layer


def _weights(layer):
    # A weight without a name of its own is named by a count.
    return [
        (re.sub(r"_\d+$", "", each.name), tuple(each.shape))
        for each in layer.weights
    ]


def _shapes(layer):
    return " ".join(f"{name}{shape}" for name, shape in _weights(layer))


def _parameters(layer):
    return sum(math.prod(each.shape) for each in layer.weights)


def _first(layers):
    names = list(itertools.islice(layers, _MOST_NAMES))
    more = ["..."] if len(layers) > _MOST_NAMES else []
    return ", ".join([*names, *more]) or "none"
