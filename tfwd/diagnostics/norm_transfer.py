"""Weight norms of one run given to another, epoch by epoch.

Zhang et al. 2019 train without weight decay, and after each epoch rescale the
weights to the norms of a run with it. What this recovers of the accuracy is
what the decay does by way of the effective learning rate η/‖θ‖₂².
"""

import collections.abc
import csv
import pathlib

from tfwd import arguments
from tfwd.diagnostics import moment_scaling
from tfwd.diagnostics.scale_invariance import rescaling

MOMENTS = ("keep", "scale")
_COLUMNS = ("epoch", "layer", "weight_norm")


class Transfer:
    """Gives the weight layers of a model the norms of a reference run.

    Args:
        model: A built functional model.
        optimizer: Its optimizer.
        norms: The path of a `diagnostics.csv`, with the columns `epoch`,
            `layer` and `weight_norm`, or {epoch: {layer: ‖kernel‖₂}}. Epochs
            count from 1; what is there of an epoch is the state after it.
        layers: Names of weight layers, or None for all that are
            scale-invariant.
        moments: `"keep"`, which is to rescale the weights and no more, or
            `"scale"`; see `moment_scaling`.

    Raises:
        ValueError: If an argument is not valid, a layer is not one whose scale
            normalization undoes, or the slots of the optimizer are not known
            where moments are to be scaled.
    """

    def __init__(self, model, optimizer, norms, layers=None, moments="keep"):
        arguments.check_choice("moments", moments, MOMENTS)
        check_layers(layers)
        if moments == "scale":
            moment_scaling.check(optimizer)
        self._optimizer = optimizer
        self._scales_moments = moments == "scale"
        self._norms = reference_norms(norms)
        self._layers = rescaling.of_model(model, layers)

    def check(self, epochs):
        """Checks that the reference has a norm of each layer in all `epochs`.

        Raises:
            ValueError: If one is missing or not finite and above 0.
        """
        for epoch in epochs:
            norms = self._norms.get(epoch, {})
            for name in self._layers:
                if name not in norms:
                    raise ValueError(
                        "`norms` must have a norm of each layer after each "
                        f"epoch. Received: none of {name!r} in epoch {epoch}"
                    )
                where = f"norms[{epoch}][{name!r}]"
                arguments.check_positive(where, norms[name])

    def apply(self, epoch):
        """Rescales the weights to the norms that the reference had then.

        Costs a pass over the weights of the layers.

        Args:
            epoch: The number of the epoch that has ended, from 1.

        Returns:
            A `rescaling.Rescaled`.

        Raises:
            ValueError: If a norm is missing, or a factor would not be finite
                and above 0; nothing is changed then.
        """
        self.check([epoch])
        rescaled = rescaling.apply(self._layers.values(), self._norms[epoch])
        if self._scales_moments:
            moment_scaling.scale(self._optimizer, rescaled.variables)
        return rescaled


def check_layers(layers):
    """Raises `ValueError` unless it is None or a list of names."""
    is_list = isinstance(layers, collections.abc.Iterable)
    if layers is not None and (not is_list or isinstance(layers, str)):
        raise ValueError(
            "`layers` must be a list of names of weight layers, or None. "
            f"Received: layers={arguments.shown(layers)}"
        )


def reference_norms(norms):
    """Returns {epoch: {layer: norm}} of a mapping or the path of a CSV.

    Raises:
        ValueError: If it is neither, or the file lacks a column or a number.
    """
    if isinstance(norms, collections.abc.Mapping):
        return norms
    try:
        path = pathlib.Path(norms)
    except TypeError:
        raise ValueError(
            "`norms` must be a path or a dict from epoch to norms. "
            f"Received: norms={norms!r}"
        ) from None
    result = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = set(_COLUMNS).difference(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f"`norms` must have the columns {', '.join(_COLUMNS)}. "
                f"Received: {path} without {', '.join(sorted(missing))}"
            )
        for row in reader:
            epoch, layer, norm = (row[name] for name in _COLUMNS)
            if not norm:
                continue
            try:
                result.setdefault(int(epoch), {})[layer] = float(norm)
            except ValueError:
                raise ValueError(
                    "`norms` must hold whole epochs and numbers. Received: "
                    f"{path}, line {reader.line_num}: {epoch}, {norm}"
                ) from None
    return result
