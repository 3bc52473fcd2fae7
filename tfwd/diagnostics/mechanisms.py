"""The three mechanisms of weight decay, measured together at one point.

| name                      | what is measured                                |
|---------------------------|-------------------------------------------------|
| `effective_learning_rate` | ‖θ‖ and η/‖θ‖² of each layer, ηsλ of the decay  |
| `jacobian`                | E ‖∂z/∂x‖²                                      |
| `gauss_newton`            | θᵀGθ, exact and of K-FAC's G; tr G(θ̂) per layer |
| `fisher`                  | θᵀFθ, and of the labels; tr F(θ̂) per layer      |
| `damping`                 | λ‖θ‖² per layer, and over the mean eigenvalue   |

with θ̂ = θ/‖θ‖ of one layer. Zhang et al. 2019 find that decay raises the
effective learning rate of first-order optimizers, with batch normalization;
makes the Jacobian of K-FAC-G smaller, without it; and lowers the effective
damping of K-FAC-F, with it.
"""

import collections.abc
import math
import time

import keras
import numpy as np
from keras import ops

from tfwd import arguments
from tfwd import types
from tfwd.diagnostics import estimates
from tfwd.diagnostics import finiteness
from tfwd.diagnostics import fisher
from tfwd.diagnostics import gauss_newton
from tfwd.diagnostics import jacobian
from tfwd.diagnostics import kronecker_factors
from tfwd.diagnostics import layer_damping
from tfwd.diagnostics import learning_rates
from tfwd.diagnostics import optimizer_rates
from tfwd.diagnostics import outputs
from tfwd.diagnostics import streaming
from tfwd.diagnostics import table
from tfwd.diagnostics.scale_invariance import kernels
from tfwd.kfac import curvature as curvature_lib

NAMES = (
    "effective_learning_rate",
    "jacobian",
    "gauss_newton",
    "fisher",
    "damping",
)
DEFAULT = ("effective_learning_rate", "damping", "jacobian")
_OF_DATA = ("jacobian", "gauss_newton", "fisher")


def check_names(argument: str, names: collections.abc.Collection[str]) -> None:
    """Raises `ValueError` unless names are a collection out of `NAMES`.

    Args:
        argument: The argument's name, for the message.
        names: The value received.
    """
    is_collection = isinstance(names, collections.abc.Collection)
    if (
        not is_collection
        or isinstance(names, (str, np.ndarray))
        or not names
        or any(not isinstance(name, str) or name not in NAMES for name in names)
    ):
        raise ValueError(
            f"`{argument}` must hold one or more of {', '.join(NAMES)}. "
            f"Received: {argument}={arguments.shown(names)}"
        )


def check_projections(projections: int | None) -> None:
    """Raises `ValueError` unless it is None or an integer above 0."""
    if projections is not None:
        arguments.check_integer("projections", projections, 1)


class Mechanisms:
    """Measures a model as often as asked, with one compiled program.

    All diagnostics are of the model in inference mode, but for factors, their
    traces and K-FAC's norm, which batch normalization enters as `mode` says. An
    equivalent kernel before it has equal traces in mode `"training"` alone:
    give large batches of one size then. What is sampled is
    sampled alike in every measurement, so that two of them differ by the
    weights alone.

    Args:
        model: A built Keras model.
        names: Diagnostics out of `NAMES`.
        loss: A Keras loss, by default the compiled one; it tells what the
            outputs are. Not read for rates and damping alone.
        projections: Random projections per example for the Jacobian, each a
            backpropagation; None for its exact norm, one per output.
        estimation: `"sampled"` or `"exact"`, of the factors behind traces and
            K-FAC's norm: one backpropagation per example, or one per output.
        mode: `"training"`, batch normalization by the statistics of each batch
            as in the paper, or `"inference"`; of the factors. See
            `tfwd.diagnostics.kronecker_factors`.
        seed: Of what is sampled.

    Raises:
        ValueError: If an argument breaks its rule, or the model cannot have a
            diagnostic.

    Example:
    >>> found = tfwd.diagnostics.Mechanisms(model, ["jacobian"], loss="mse")
    >>> rows = found.measure([(x, y)])
    >>> print(tfwd.diagnostics.table.as_text(rows))

    References:
        Zhang et al. 2019, Sections 4.1 to 4.3.
    """

    def __init__(
        self,
        model: keras.Model,
        names: collections.abc.Collection[str] = DEFAULT,
        *,
        loss: types.Loss | None = None,
        projections: int | None = 1,
        estimation: types.Estimation = "sampled",
        mode: types.Mode = "training",
        seed: int = 0,
    ):
        arguments.check_model("model", model)
        check_names("names", names)
        check_projections(projections)
        arguments.check_choice(
            "estimation", estimation, curvature_lib.ESTIMATIONS
        )
        arguments.check_choice("mode", mode, kronecker_factors.MODES)
        seed = arguments.check_integer("seed", seed, 0)
        self._model = model
        self._names = tuple(names)
        self._projections = projections
        self._seed = seed
        self._found = kernels.of_model(model)
        self._factors, self._sums = {}, None
        if any(name in _OF_DATA for name in names):
            self._likelihood = outputs.likelihood_of(model, loss)
            self._factors = {
                kind: kronecker_factors.KroneckerFactors(
                    model, self._likelihood, kind, estimation, mode, seed
                )
                for kind in kronecker_factors.CURVATURES
                if kind in names
            }
            self._sums = streaming.Sums(self._statistics, model)

    def measure(
        self,
        batches: collections.abc.Iterable,
        optimizer: keras.optimizers.Optimizer | None = None,
        learning_rate: float | None = None,
    ) -> list[dict]:
        """Returns a row per weight layer and one of the model.

        Args:
            batches: An iterable of batches as `streaming.Sums.over` takes
                them. Not read for rates and damping alone. Labels are needed
                for their Fisher–Rao norm alone.
            optimizer: The optimizer whose rates are reported, built; None for
                none.
            learning_rate: η, in place of the optimizer's.

        Returns:
            A list of dicts with `table.COLUMNS` as keys, None where there is
            no value; the last one, of the layer `table.MODEL`, is the model's.
        """
        start = time.perf_counter()
        rates = optimizer_rates.of(optimizer, learning_rate)
        sums = {} if self._sums is None else self._sums.over(batches)
        of_layers = self._of_factors(sums)
        rows, squares = [], 0.0
        for found in self._found:
            name = found.weight_layer.name
            kernel = np.asarray(
                ops.convert_to_numpy(found.weight_layer.kernel), "float64"
            )
            squares += learning_rates.squared_norm(kernel)
            rows.append(
                table.row(
                    name,
                    scale_invariant=found.is_invariant,
                    scale_invariant_with_bias=found.is_invariant_with_bias,
                    weights=kernel.size,
                    **self._of_kernel(
                        kernel,
                        rates.of_variable(found.weight_layer.kernel),
                        of_layers.get(name, {}),
                    ),
                )
            )
        own = self._of_means(sums)
        if "effective_learning_rate" in self._names:
            own["weight_norm"] = math.sqrt(squares)
            own["intrinsic_learning_rate"] = rates.decay_rate
            own["expected_steps"] = rates.expected_steps
        if "gauss_newton" in self._names:
            column = "kfac_gauss_newton_norm"
            own[column] = sum(values[column] for values in of_layers.values())
        own["seconds"] = time.perf_counter() - start
        return [*rows, table.row(table.MODEL, **own)]

    def _statistics(self, inputs, labels, weights, first_example):
        sums = {}
        norms = self._norms(inputs, labels, first_example)
        for column, values in norms.items():
            is_of_labels = column == "label_fisher_rao_norm"
            read = (inputs, labels) if is_of_labels else inputs
            undefined = finiteness.nan_unless_finite(self._model, read)
            values = ops.cast(values, undefined.dtype) + undefined
            sums[(column,)] = estimates.sums(values, weights)
        for factors in self._factors.values():
            sums |= factors.statistics(inputs, labels, weights, first_example)
        return sums

    def _norms(self, inputs, labels, first_example):
        """Returns {column: its values of the examples}."""
        model, likelihood, norms = self._model, self._likelihood, {}
        if "jacobian" in self._names:
            norms["jacobian"] = jacobian.squared_norms(
                model,
                inputs,
                likelihood,
                projections=self._projections,
                examples=streaming.examples(inputs, first_example),
                # Not the signs that the Gauss–Newton factors are drawn with.
                step=1,
                seed=self._seed,
            )
        if "gauss_newton" in self._names:
            norms["gauss_newton_norm"] = gauss_newton.squared_norms(
                model, inputs, likelihood
            )
        if "fisher" in self._names:
            norms["fisher_rao_norm"] = fisher.squared_norms(
                model, inputs, likelihood
            )
            if labels is not None:
                norms["label_fisher_rao_norm"] = fisher.label_norms(
                    model, inputs, labels, likelihood
                )
        return norms

    def _of_means(self, sums):
        """Returns {column: mean or standard error} of the model's norms."""
        own = {}
        for (column, *more), values in sums.items():
            if not more:
                mean = estimates.of_sums(*values)
                own[column] = mean.value
                own[f"{column}_error"] = mean.standard_error
        return own

    def _of_factors(self, sums):
        """Returns {layer: {column: value}}."""
        of_layers = {}
        for kind, factors in self._factors.items():
            for layer in factors.layers(sums):
                values = of_layers.setdefault(layer.name, {})
                values[f"{kind}_trace"] = kronecker_factors.normalized_trace(
                    layer
                )
                if kind == "gauss_newton":
                    values["kfac_gauss_newton_norm"] = (
                        kronecker_factors.kfac_norm(layer)
                    )
        return of_layers

    def _of_kernel(self, kernel, rates, values):
        """Returns {column: value} of a layer, what its factors say included."""
        values = dict(values)
        if "effective_learning_rate" in self._names:
            values["weight_norm"] = learning_rates.weight_norm(kernel)
            if rates.learning_rate is not None:
                values["effective_learning_rate"] = (
                    learning_rates.effective_learning_rate(
                        rates.learning_rate, kernel
                    )
                )
        if "damping" in self._names and rates.damping is not None:
            values["effective_damping"] = layer_damping.effective_damping(
                rates.damping, kernel
            )
            trace = values.get(f"{rates.curvature}_trace")
            # Of a model that has diverged there is no ratio.
            if trace is not None and math.isfinite(trace):
                values["damping_ratio"] = layer_damping.damping_ratio(
                    rates.damping,
                    kernel,
                    rates.curvature_scale * trace,
                    kernel.size,
                )
        return values
