"""Runs a model once and keeps what its layers see, but nothing that changes."""

import math
import typing

import keras
from keras import ops

from tfwd.kfac import backend
from tfwd.kfac import capture


class Recorded(typing.NamedTuple):
    """What a run leaves beside the output.

    Attributes:
        features: What each block keeps of its call.
        masks: The Keras mask of each call's input, or None.
        output_mask: The Keras mask of the model's output, or None.
        predictions: The number of predictions that the mask leaves.
    """

    features: list
    masks: list
    output_mask: object
    predictions: object


class _Scope(keras.StatelessScope):
    """Keeps the model as it is, and notes who reads a block's variables.

    What a variable does outside its own layer (the transposed kernel of a tied
    autoencoder) is not in the layer's factors.
    """

    def __init__(self, mapping, blocks):
        super().__init__(mapping)
        self.layer = None
        self._owners = {id(v): b.layer for b in blocks for v in b.variables}

    def get_current_value(self, ref_var):
        """Returns a variable's value, to its own layer alone.

        Raises:
            ValueError: If another layer reads a block's variable.
        """
        owner = self._owners.get(id(ref_var))
        if owner is not None and owner is not self.layer:
            raise ValueError(
                "KFAC needs every variable to be used by its own layer alone. "
                f"Received: {ref_var.path}, used outside {owner.name}"
            )
        return super().get_current_value(ref_var)


class Run:
    """Runs a model once and records the calls of its blocks.

    Args:
        model: The model.
        blocks: The blocks of its layers.
        likelihood: Its `likelihoods.Likelihood`.
        needs_logits: Whether to return the logits, whatever the model returns.
        training: Whether the model runs in training mode, or else inference.

    Attributes:
        called: The block of each call, in order.
    """

    def __init__(self, model, blocks, likelihood, needs_logits, training=True):
        self.called = []
        self._model = model
        self._blocks = {id(block.layer): block for block in blocks}
        self._likelihood = likelihood
        self._needs_logits = needs_logits
        self._training = training

    def __call__(self, inputs, connect):
        """Returns the output, or the logits, and a `Recorded`.

        Args:
            inputs: Inputs of the model.
            connect: Stands in for every pre-activation.

        Raises:
            ValueError: If the model has several outputs, a variable is used
                outside its layer, or what the loss takes for probabilities is
                not known to be that.
        """
        self.called = []
        features, masks, activated = [], [], []

        def record(layer, linear, activation, inputs):
            block = self._blocks.get(id(layer))
            if block is None:
                return activation(linear(inputs))
            self.called.append(block)
            scope.layer = layer
            features.append(block.features(inputs, linear))
            masks.append(capture.mask_of(inputs))
            z = connect(linear(inputs))
            scope.layer = None
            output = activation(z)
            activated.append((output, z, activation))
            return output

        mapping = backend.current.current_values(self._model.variables)
        scope = _Scope(mapping, self._blocks.values())
        with scope, capture.calling_back(record):
            output = capture.call(self._model, inputs, self._training)
        leaves = keras.tree.flatten(output)
        if len(leaves) != 1:
            raise ValueError(
                "KFAC needs a model with one output. "
                f"Received: {len(leaves)} outputs"
            )
        output_mask = capture.mask_of(leaves[0])
        if output_mask is None:
            predictions = math.prod(ops.shape(leaves[0])[:-1])
        else:
            predictions = ops.sum(ops.cast(output_mask, "int32"))
        tensor = leaves[0]
        if not self._likelihood.from_logits:
            z = self._logits(tensor, activated)
            if self._needs_logits:
                tensor = z
        return tensor, Recorded(features, masks, output_mask, predictions)

    def _logits(self, output, activated):
        name = self._likelihood.distribution
        z = pre_activation(output, activated, name)
        if z is None:
            raise ValueError(
                "KFAC needs logits, with from_logits=True in the loss, or a "
                f"last layer whose own activation is {name}. Received: "
                f"from_logits=False and {self._model.layers[-1].name} without "
                "it"
            )
        return z


def pre_activation(output, activated, name):
    """Returns what the activation `name` made `output` of, None if none did.

    Args:
        output: What the model returned.
        activated: For each call of a layer what it returned, its
            pre-activation and its activation.
        name: Of an activation of Keras.
    """
    wanted = getattr(keras.activations, name)
    for result, z, activation in activated:
        if result is output and activation is wanted:
            return z
    return None
