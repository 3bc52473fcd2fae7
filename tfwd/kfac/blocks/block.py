"""A block of the curvature: one layer's factors and its matrix form.

The curvature of a layer's variables is approximated by C = A ⊗ G. With one row
per example and position, a the layer's input (and a 1 if there is a bias) and
g the gradient at its pre-activation,

    A = Σ a aᵀ / rows,  [(groups,) n, n]
    G = Σ g gᵀ / predictions,  [(groups,) m, m]
    V = Σ a gᵀ,  [(groups,) n, m], the gradient in matrix form

G is summed over positions, so that C needs no factor for their number. The
leading axis is there only if the layer has groups.
"""

import abc
import dataclasses
import math
from typing import Any

import keras
from keras import ops

from tfwd.kfac import capture


class UnsupportedLayerError(ValueError):
    """A layer that no block covers; the text is the reason."""


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer in a curvature pass.

    Attributes:
        features: What `Block.features` returned for it.
        gradients: Gradients at the pre-activation, [batch, ...], one per
            backpropagated vector.
        weights: None, or the [batch] weights of the examples, whose square
            roots the gradients already contain.
        mask: None, or the boolean Keras mask of the layer's input.
    """

    features: Any
    gradients: tuple
    weights: Any = None
    mask: Any = None


class Block(abc.ABC):
    """The factors of one layer, their statistics, and its matrix form.

    Args:
        layer: A built layer.

    Attributes:
        kind: Name of the sort of block.
        factor_names: One name per factor.
        variables: The trainable variables that the block preconditions.
        factor_shapes: Static shape of each factor.
        diagonal: Per factor, whether only its diagonal is kept, as a vector.
        dtype: "float64" if the variables are, else "float32". Whatever comes
            in is cast to it before it is multiplied.

    Raises:
        UnsupportedLayerError: If the layer is not covered.
    """

    kind: str | None = None
    factor_names: tuple[str, ...] = ("A", "G")
    diagonal: tuple[bool, ...] = (False, False)

    def __init__(self, layer):
        if not layer.built:
            raise ValueError(
                f"`layer` must be built. Received: layer={layer.name}"
            )
        check_runs_as_written(layer)
        self.layer = layer
        self.variables = self._trainable_variables()
        dtypes = {
            keras.backend.standardize_dtype(v.dtype) for v in self.variables
        }
        self.dtype = "float64" if dtypes == {"float64"} else "float32"

    @property
    @abc.abstractmethod
    def factor_shapes(self):
        """Static shape of each factor."""

    def features(self, inputs, layer_call):
        """Returns what to record of a call, at the time of the call.

        Args:
            inputs: The layer's input.
            layer_call: The layer's own call, a function of `inputs`.
        """
        del layer_call
        return inputs

    def positions(self, calls):
        """Returns the positions per example, those of all calls together."""
        return sum(
            math.prod(self._grid(call.gradients[0])[1:]) for call in calls
        )

    @abc.abstractmethod
    def statistics(self, calls):
        """Returns a sum and the count that it is to be divided by, per factor.

        Args:
            calls: All calls of the layer in one pass.
        """

    @abc.abstractmethod
    def to_matrix(self, tensors):
        """Returns gradients, or values, of the variables in matrix form."""

    @abc.abstractmethod
    def from_matrix(self, matrix):
        """Returns tensors shaped like the variables."""

    @abc.abstractmethod
    def _grid(self, gradient):
        """Returns the sizes of batch and positions, batch first."""

    def _trainable_variables(self):
        kernel, bias = self._kernel(), getattr(self.layer, "bias", None)
        if not isinstance(kernel, keras.Variable):
            raise UnsupportedLayerError("its kernel is not a variable")
        if bias is None:
            return _all_trainable((kernel,))
        return _all_trainable((kernel, bias))

    def _kernel(self):
        return self.layer.kernel

    def _cast(self, tensor):
        return ops.cast(ops.convert_to_tensor(tensor), self.dtype)

    def _examples(self, calls):
        return self._cast(ops.shape(calls[0].gradients[0])[0])


def check_runs_as_written(layer):
    """Raises `UnsupportedLayerError` if a call is not the layer's own."""
    if getattr(layer, "lora_enabled", False):
        raise UnsupportedLayerError("LoRA is enabled")
    if getattr(layer, "quantization_mode", None) is not None:
        raise UnsupportedLayerError(
            f"it is quantized to {layer.quantization_mode}"
        )
    # Under jax.checkpoint what a call records is lost.
    if capture.is_rematerialized(layer):
        raise UnsupportedLayerError("it is rematerialized")
    activation = getattr(layer, "activation", keras.activations.linear)
    if capture.has_foreign_call(layer) and (
        activation is not keras.activations.linear
    ):
        raise UnsupportedLayerError(
            "its `call` is replaced, so that its pre-activation is not known"
        )


def _all_trainable(variables):
    trainable = [v.trainable for v in variables]
    if not any(trainable):
        raise UnsupportedLayerError("no variable of it is trainable")
    if not all(trainable):
        frozen = variables[trainable.index(False)].name
        raise UnsupportedLayerError(f"its {frozen} alone is frozen")
    return variables
