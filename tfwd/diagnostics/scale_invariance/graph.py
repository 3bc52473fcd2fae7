"""The calls that a functional model consists of, nested models inlined."""

import dataclasses

import keras

from tfwd.diagnostics import keras_internals


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the graph, known by its identity.

    Attributes:
        shape: [batch, ..., channels], None where a size is not known.
    """

    shape: tuple[int | None, ...]

    @property
    def channels(self):
        """The size of the last axis, None if not known or the batch."""
        return self.shape[-1] if len(self.shape) > 1 else None


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One call of an operation; a shared layer has several.

    Attributes:
        operation: A layer, or an operation of `keras.ops`.
        arguments: The leaves of all arguments in order; `Tensor`s and others.
        outputs: What it returns.
        variables: Identities of the variables that it may read, those of its
            sublayers among them. What a function reads through its closure is
            not seen.
        inference: Whether it was called with `training=False`, or a model
            around it was.
    """

    operation: keras.Operation
    arguments: tuple
    outputs: tuple[Tensor, ...]
    variables: frozenset[int]
    inference: bool

    @property
    def inputs(self):
        """The tensors among the arguments."""
        return tuple(a for a in self.arguments if isinstance(a, Tensor))

    @property
    def kind(self):
        """The class of the operation, or the name of one of `keras.ops`."""
        return keras_internals.OPERATIONS.get(
            type(self.operation), type(self.operation)
        )


@dataclasses.dataclass(frozen=True)
class Graph:
    """A model: its inputs, its calls in an order of execution, its outputs."""

    inputs: tuple[Tensor, ...]
    calls: tuple[Call, ...]
    outputs: tuple[Tensor, ...]


def of_model(model):
    """Returns the `Graph` of a model, or None if it has none.

    Functional and sequential models have one, unless a subclass overrides
    `call`. A nested model of that kind is replaced by its calls; any other
    remains one call, as does one that is given a mask. Masks are tensors among
    the arguments of the layers that heed them.
    """
    function = keras_internals.function_of(model)
    if function is None:
        return None
    inputs = tuple(_tensor(x) for x in function.inputs)
    calls = []
    outputs = _inline(function, inputs, False, calls)
    return Graph(inputs, tuple(calls), outputs)


def _tensor(x):
    return Tensor(tuple(x.shape))


def _inline(function, inputs, inference, calls):
    """Appends the calls of a model's nodes, returns its outputs."""
    known = {
        id(x): tensor for x, tensor in zip(function.inputs, inputs, strict=True)
    }
    for node in keras_internals.nodes_of(function):
        tensors = node.input_tensors
        if node.is_input or any(id(x) not in known for x in tensors):
            continue
        leaves = keras.tree.flatten(
            (node.arguments.args, node.arguments.kwargs)
        )
        arguments = tuple(known.get(id(leaf), leaf) for leaf in leaves)
        # `training` is the one flag of normalizations and models.
        off = inference or any(
            isinstance(leaf, int) and not leaf for leaf in leaves
        )
        nested = keras_internals.function_of(node.operation)
        given = tuple(known[id(x)] for x in tensors)
        if nested is not None and _fits(nested, node, given):
            outputs = _inline(nested, given, off, calls)
        else:
            outputs = tuple(_tensor(x) for x in node.outputs)
            calls.append(
                Call(
                    node.operation,
                    arguments,
                    outputs,
                    _variables(node.operation, leaves),
                    off,
                )
            )
        known |= {
            id(x): tensor
            for x, tensor in zip(node.outputs, outputs, strict=True)
        }
    return tuple(known[id(x)] for x in function.outputs)


def _fits(function, node, given):
    """Returns whether the tensors of a call are the model's inputs in order."""
    # Keras orders a dict by names, and reshapes what has another rank.
    values = (*node.arguments.args, *node.arguments.kwargs.values())
    if any(isinstance(value, dict) for value in values):
        return False
    return len(given) == len(function.inputs) and all(
        len(x.shape) == len(tensor.shape)
        for x, tensor in zip(function.inputs, given, strict=True)
    )


def _variables(operation, leaves):
    found = list(getattr(operation, "variables", ()))
    found += [leaf for leaf in leaves if isinstance(leaf, keras.Variable)]
    return frozenset(id(variable) for variable in found)
