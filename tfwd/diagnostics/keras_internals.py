"""Every private name of Keras (3.10 to 3.15) that the diagnostics use.

About graphs: the classes of operations and the nodes of a functional model.
About optimizers: the slots and the variables that one was built for.
"""

import keras
from keras.src.models import functional
from keras.src.ops import nn
from keras.src.ops import numpy

# What `x + y`, `keras.ops.relu(x)` and the like put into a graph.
OPERATIONS = {
    numpy.Add: "add",
    numpy.Subtract: "subtract",
    numpy.Multiply: "multiply",
    numpy.Divide: "divide",
    numpy.TrueDivide: "divide",
    numpy.Negative: "negative",
    numpy.Maximum: "maximum",
    numpy.Minimum: "minimum",
    nn.Relu: "relu",
    nn.LeakyRelu: "leaky_relu",
}

SLOTS_OF_SGD = ("momentums",)
SLOTS_OF_ADAM = ("_momentums", "_velocities", "_velocity_hats")


def function_of(operation):
    """Returns the object with the nodes of a model, or None."""
    for base, own in (
        (keras.Sequential, lambda: operation._functional),
        (functional.Functional, lambda: operation),
    ):
        if isinstance(operation, base):
            return own() if type(operation).call is base.call else None
    return None


def nodes_of(function):
    """Yields the nodes of what `function_of` returned, inputs first."""
    for depth in sorted(function._nodes_by_depth, reverse=True):
        yield from function._nodes_by_depth[depth]


def variables_of(optimizer):
    """Returns the variables that an optimizer was built for, in order."""
    return optimizer._trainable_variables
