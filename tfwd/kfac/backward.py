"""The preconditioned gradient of a dense layer, straight from backpropagation.

With inputs a [B, n] and gradients g [B, m] of one batch, V = aᵀg, and

```
A⁻¹ V G⁻¹ = (A⁻¹ aᵀ)(g G⁻¹)
```

costs B(n² + m² + nm) multiplications on the right and Bnm + n²m + nm² on the
left: fewer on the right where the batch is smaller than the layer. The
gradient V itself is then never formed, so whatever needs it (clipping, L2, the
KL clip) needs the left side. So does a second derivative: the layer's variables
are constants of its first one. It is refused, and `fit` takes the left side.
"""

import math

import keras
from keras import ops

from tfwd.kfac import capture

SECOND_DERIVATIVE = (
    "`preconditioned_backward()` must not hold a loss or a model that "
    "differentiates the network; leave it out. Received: a second derivative"
)


def is_cheaper(rows, n, m):
    """Tells whether the factored product needs fewer multiplications."""
    factored = rows * (n * n + m * m + n * m)
    plain = rows * n * m + n * n * m + n * m * m
    return factored < plain


def is_forward_mode(error):
    """Tells whether JAX refused a forward derivative of the rule."""
    return isinstance(error, TypeError) and "custom_vjp" in str(error)


def blocks_done(attached):
    """Returns the numbers of the blocks whose gradients are U already.

    Args:
        attached: The `attachment.Attachment` of an optimizer; a listener of
            another one has done nothing for it.
    """
    listener = capture.listener_now()
    if isinstance(listener, Listener) and listener.attached is attached:
        return listener.done()
    return frozenset()


class Listener:
    """Chooses the layers whose gradients arrive preconditioned.

    Args:
        attached: The `attachment.Attachment`.
        state: The `state.CurvatureState`.
        values: {id of a variable: its value}, where variables hold none.
    """

    def __init__(self, attached, state, values):
        self.attached = attached
        self._state = state
        self._values = values
        # By the first call of a layer: U sums over calls as V does, but the
        # two cannot be mixed.
        self._chosen = {}
        # Whether a gradient was differentiated again.
        self.refused = False

    def refuse(self):
        """Refuses a second derivative.

        Raises:
            ValueError: Always.
        """
        self.refused = True
        raise ValueError(SECOND_DERIVATIVE)

    def done(self):
        """Returns the numbers of the layers that were chosen."""
        return frozenset(
            n for n, is_chosen in self._chosen.items() if is_chosen
        )

    def __call__(self, layer, linear, activation, inputs):
        """Returns the layer's output."""
        number = self.attached.number_of(layer)
        if number is None:
            return activation(linear(inputs))
        block = self.attached.blocks[number]
        if number not in self._chosen:
            rows = _rows(inputs, self.attached.rows_hint)
            self._chosen[number] = _suits(block, rows)
        if not self._chosen[number]:
            return activation(linear(inputs))
        inverses = [
            ops.convert_to_tensor(self._values.get(id(variable), variable))
            for (variable,) in self._state.inverses_of(number)
        ]
        return call(block, linear, activation, inputs, inverses, self.refuse)


def call(block, linear, activation, inputs, inverses, refuse):
    """Calls a dense layer whose variables receive U = A⁻¹ V G⁻¹ as gradients.

    The layer itself runs with its variables held constant, so the gradient
    with respect to its input is its own; an identity behind it hands U to the
    variables. U is linear in g: it sums over calls, replicas and weights of
    examples as V does.

    Args:
        block: The layer's block.
        linear: The layer without its activation, a function of its input.
        activation: What follows.
        inputs: The layer's input.
        inverses: (A⁻¹, G⁻¹).
        refuse: Called where a gradient is differentiated; must raise.

    Returns:
        The layer's output.
    """
    layer_variables = block.layer.variables
    values = {id(v): capture.stored_value(v) for v in layer_variables}
    frozen = [(v, ops.stop_gradient(values[id(v)])) for v in layer_variables]
    with keras.StatelessScope(frozen):
        z = linear(inputs)
    operands = [ops.stop_gradient(x) for x in (inputs, *inverses)]
    trained = [values[id(v)] for v in block.variables]
    return activation(_with_gradient(block, z, trained, operands, refuse))


def _suits(block, rows):
    if block.kind != "dense" or rows is None:
        return False
    # A regularizer's gradient would reach the kernel unpreconditioned.
    if any(variable.regularizer is not None for variable in block.variables):
        return False
    a, g = block.factor_shapes
    return is_cheaper(rows, a[-1], g[-1])


def _rows(inputs, rows_hint):
    sizes = list(inputs.shape[:-1])
    if sizes[0] is None:
        sizes[0] = rows_hint
    return None if None in sizes else math.prod(sizes)


def _once(tensors, trained, refuse):
    """Returns the tensors, which must not be differentiated.

    The variables are arguments too: a gradient may depend on them alone.
    """

    @ops.custom_gradient
    def identity(*arguments):
        def grad(*upstreams, upstream=None):
            del upstreams, upstream
            refuse()

        return tuple(map(ops.copy, arguments[: len(tensors)])), grad

    return identity(*tensors, *trained)


def _with_gradient(block, z, trained, operands, refuse):
    on_tensorflow = keras.backend.backend() == "tensorflow"

    @ops.custom_gradient
    def identity(z, *arguments):
        inputs, inverse_a, inverse_g = arguments[len(trained) :]

        def grad(*upstreams, upstream=None):
            g = upstreams[0] if upstream is None else upstream
            a = block.input_rows(inputs)
            right = ops.matmul(
                block.gradient_rows(g), ops.cast(inverse_g, block.dtype)
            )
            left = ops.matmul(ops.cast(inverse_a, block.dtype), _transposed(a))
            matrix = ops.matmul(left, right)
            updates = [
                ops.cast(update, tensor.dtype)
                for update, tensor in zip(
                    block.from_matrix(matrix), trained, strict=True
                )
            ]
            g, *updates = _once(
                [g, *updates], arguments[: len(trained)], refuse
            )
            if on_tensorflow:
                return g, *updates, *[None] * len(operands)
            return g, *updates, *map(ops.zeros_like, operands)

        return ops.copy(z), grad

    return identity(z, *trained, *operands)


def _transposed(rows):
    return ops.swapaxes(rows, -1, -2)
