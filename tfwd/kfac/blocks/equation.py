"""What the labels of an EinsumDense equation stand for."""

import dataclasses
import re
import string

from tfwd.kfac.blocks import block as block_lib

_FORM = re.compile(
    r"((?:\.\.\.)?[a-zA-Z]*(?:\.\.\.)?),([a-zA-Z]*)->([a-zA-Z.]*)"
)


@dataclasses.dataclass(frozen=True)
class Equation:
    """Labels of the axes of input, kernel and output, the ellipsis spelt.

    | label in        | it is                           |
    |-----------------|---------------------------------|
    | input, kernel   | contracted: a feature           |
    | kernel, output  | free: an output                 |
    | all three       | a group, one pair of factors    |
    | input, output   | the batch, if first; a position |
    """

    inputs: str
    kernel: str
    outputs: str

    @property
    def contracted(self):
        """Labels of the features."""
        return [x for x in self.kernel if x not in self.outputs]

    @property
    def free(self):
        """Labels of the outputs."""
        return [x for x in self.kernel if x not in self.inputs]

    @property
    def groups(self):
        """Labels of the groups."""
        return [
            x for x in self.kernel if x in self.inputs and x in self.outputs
        ]

    @property
    def positions(self):
        """Labels of batch and positions, in the order of the input."""
        return [x for x in self.inputs if x not in self.kernel]

    @property
    def leading_positions(self):
        """How many axes of the input come before its first other label."""
        for axis, label in enumerate(self.inputs):
            if label in self.kernel:
                return axis
        return len(self.inputs)


def of_layer(layer):
    """Returns the equation of a built EinsumDense layer.

    Raises:
        UnsupportedLayerError: If a label is none of these.
    """
    match = _FORM.fullmatch(layer.equation)
    if match is None:
        raise _not_covered(layer, "is not of a form that is read here")
    inputs, kernel, outputs = match.groups()
    unused = [x for x in string.ascii_letters if x not in layer.equation]
    elided = layer.input_spec.ndim - len(inputs.replace("...", ""))
    spelt = "".join(unused[:elided])
    inputs = inputs.replace("...", spelt)
    outputs = outputs.replace("...", spelt)
    for labels in (inputs, kernel, outputs):
        if len(set(labels)) < len(labels):
            raise _not_covered(layer, "repeats a label")
    for label in inputs:
        if label not in kernel and label not in outputs:
            raise _not_covered(layer, f"sums over {label!r} of the input alone")
    if inputs[0] in kernel:
        raise _not_covered(layer, "has the batch in the kernel")
    return Equation(inputs, kernel, outputs)


def _not_covered(layer, reason):
    return block_lib.UnsupportedLayerError(
        f"equation {layer.equation!r} {reason}"
    )
