"""What the layers of a model give, as it is found in the model's graph."""

from tfwd.diagnostics import keras_internals


def named(model):
    """Returns [(layer or operation, symbolic tensor)], inputs first.

    Not of the insides of a model that stands in it as a layer. Of a model whose
    own `call` goes around its graph the outputs alone are known.
    """
    function = keras_internals.function_of(model)
    if function is None:
        return [(model.name, tensor) for tensor in model.outputs]
    return [
        (node.operation.name, tensor)
        for node in keras_internals.nodes_of(function)
        for tensor in node.outputs
    ]
