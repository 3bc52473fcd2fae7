"""The preconditioned gradient of a dense layer, straight from backpropagation.

With inputs a [B, n] and gradients g [B, m] of one batch, V = aᵀg, and

```
A⁻¹ V G⁻¹ = (A⁻¹ aᵀ)(g G⁻¹)
```

costs B(n² + m² + nm) multiplications on the right and Bnm + n²m + nm² on the
left: fewer on the right where the batch is smaller than the layer. The
gradient V itself is then never formed, so whatever needs it (clipping, L2, the
KL clip) needs the left side.

So does a second derivative: what this one is of is U, not the loss. Whatever
it could go through is a tensor that no derivative passes: the layer's variables
in its forward pass, what it backpropagates, and U. A program that drops the
rule of a layer (`tf.vectorized_map`), or takes a gradient that was traced
outside, is refused in the same way, and `fit` takes the left side.
"""

import contextlib
import math

import keras
from keras import ops

from tfwd.kfac import backend
from tfwd.kfac import capture

# In ASCII: TensorFlow quotes it as bytes.
SECOND_DERIVATIVE = (
    "`preconditioned_backward()` must not hold a loss or a model that "
    "differentiates the network; leave it out. Received: a second derivative"
)
OTHER_PROGRAM = (
    "`preconditioned_backward()` must hold the forward pass, the gradients and "
    "`apply`, all in one compiled function. Received: a layer called outside "
    "of it, or in a function that is compiled by itself"
)


def is_cheaper(rows, n, m):
    """Returns whether the factored product needs fewer multiplications."""
    factored = rows * (n * n + m * m + n * m)
    plain = rows * n * m + n * n * m + n * m * m
    return factored < plain


def refusal(error):
    """Returns which of the refusals an error is, or was made of, or None."""
    while error is not None:
        text = str(error)
        if any(words in text for words in backend.current.NO_FORWARD_MODE):
            return SECOND_DERIVATIVE
        for message in (SECOND_DERIVATIVE, OTHER_PROGRAM):
            # TensorFlow and AutoGraph put words around it.
            if message in text:
                return message
        error = error.__cause__ or error.__context__
    return None


def preconditioner_of(attached):
    """Returns the `Preconditioner` in force, or None.

    Args:
        attached: The `attachment.Attachment` of an optimizer; that of
            another one has done nothing for it.
    """
    callback = capture.callback_now()
    is_its_own = (
        isinstance(callback, Preconditioner) and callback.attached is attached
    )
    return callback if is_its_own else None


@contextlib.contextmanager
def calling_back(preconditioner):
    """Hands the calls of layers to a `Preconditioner`.

    Raises:
        ValueError: If the step needs the gradients themselves.
    """
    try:
        with (
            capture.calling_back(preconditioner),
            backend.current.tracing(id(preconditioner.attached)),
        ):
            yield
        preconditioner.check_program()
    except Exception as error:
        message = refusal(error)
        if message is None:
            raise
        preconditioner.attached.differentiates_twice = True
        raise ValueError(message) from error


class Preconditioner:
    """Chooses the layers whose gradients arrive preconditioned.

    Args:
        attached: The `attachment.Attachment`.
        state: The `state.CurvatureState`.
        values: {id of a variable: its value}, where variables hold none.

    Attributes:
        awaits_loss: Whether a gradient may be taken only once the loss is
            there. Before, it is one that the loss or the model takes.
    """

    def __init__(self, attached, state, values):
        self.attached = attached
        self.awaits_loss = False
        self._state = state
        self._values = values
        self._program = backend.current.program()
        # By the first call of a layer: U sums over calls as V does, but the
        # two cannot be mixed.
        self._chosen = {}
        self._was_called_elsewhere = False

    def check_program(self):
        """Checks that no layer was called in another program.

        Raises:
            ValueError: If one was.
        """
        if self._was_called_elsewhere:
            raise ValueError(OTHER_PROGRAM)

    def has_done(self, number):
        """Returns whether a block's gradient is U already.

        Raises:
            ValueError: If the layer was called in another program: what its
                gradient is was decided when that was traced.
        """
        self.check_program()
        if number not in self._chosen or any(
            backend.current.is_passed_on(variable, self._program)
            for variable in self.attached.blocks[number].variables
        ):
            raise ValueError(OTHER_PROGRAM)
        return self._chosen[number]

    def check_loss(self):
        """Checks that a gradient is not one that the loss takes.

        Raises:
            ValueError: If it is.
        """
        if self.awaits_loss:
            raise ValueError(SECOND_DERIVATIVE)

    def __call__(self, layer, linear, activation, inputs):
        """Returns the layer's output."""
        number = self.attached.number_of(layer)
        if number is None:
            return activation(linear(inputs))
        # A program of its own would be kept, and used outside.
        if backend.current.program() is not self._program:
            self._was_called_elsewhere = True
            if backend.current.KEEPS_TRACES:
                self.check_program()
            return activation(linear(inputs))
        block = self.attached.blocks[number]
        if number not in self._chosen:
            rows = _rows(inputs, self.attached.rows_hint)
            self._chosen[number] = _suits(block, inputs, rows)
        if not self._chosen[number]:
            return activation(linear(inputs))
        inverses = [
            ops.convert_to_tensor(self._values.get(id(variable), variable))
            for (variable,) in self._state.inverses_of(number)
        ]
        z = call(block, linear, inputs, inverses, self.check_loss)
        return activation(z)


def call(block, linear, inputs, inverses, check):
    """Calls a dense layer whose variables receive U = A⁻¹ V G⁻¹ as gradients.

    The gradient with respect to its input is the layer's own. U is linear in
    g: it sums over calls, replicas and weights of examples as V does.

    Args:
        block: The layer's block.
        linear: The layer without its activation, a function of its input.
        inputs: The layer's input.
        inverses: (A⁻¹, G⁻¹).
        check: Called when a gradient is taken.

    Returns:
        The pre-activation.
    """
    trained = block.variables

    def forward(inputs, *tensors):
        values = [_guarded(tensor) for tensor in tensors[: len(trained)]]
        with keras.StatelessScope(list(zip(trained, values, strict=True))):
            z, pull = backend.current.linearized(linear, inputs)
        return z, (pull, inputs, tensors)

    def gradients(kept, g):
        check()
        pull, inputs, tensors = kept
        inverse_a, inverse_g = tensors[len(trained) :]
        a = block.input_rows(inputs)
        right = ops.matmul(
            block.gradient_rows(g), ops.cast(inverse_g, block.dtype)
        )
        left = ops.matmul(ops.cast(inverse_a, block.dtype), _transposed(a))
        updates = [
            _guarded(ops.cast(update, tensor.dtype))
            for update, tensor in zip(
                block.from_matrix(ops.matmul(left, right)),
                tensors[: len(trained)],
                strict=True,
            )
        ]
        return (
            backend.current.pulled_back(pull, _guarded(g)),
            *updates,
            None,
            None,
        )

    values = [capture.stored_value(variable) for variable in trained]
    operands = map(ops.stop_gradient, inverses)
    rule = backend.current.with_rule(forward, gradients)
    return rule(inputs, *values, *operands)


def _guarded(tensor):
    return backend.current.undifferentiable(tensor, SECOND_DERIVATIVE)


def _suits(block, inputs, rows):
    if block.kind != "dense" or rows is None:
        return False
    if not keras.backend.is_float_dtype(inputs.dtype):
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


def _transposed(rows):
    return ops.swapaxes(rows, -1, -2)
