"""The Jacobian of the outputs with respect to the input, inference mode.

```
‖J_x‖²_F = Σ_k ‖∂z_k/∂x‖²          exact, one backpropagation per output
E ‖vᵀ J_x‖² = ‖J_x‖²_F             v of random signs, one per projection
```

Its value depends on how inputs are normalized, and on whether the outputs z
are logits or probabilities. Several predictions per example count as outputs.

References:
    Zhang et al. 2019, section 4.2; Novak et al. 2018. Random signs: Hutchinson
    1989.
"""

import math

import keras
from keras import ops

from tfwd import arguments
from tfwd.diagnostics import outputs
from tfwd.diagnostics.backend import derivatives
from tfwd.kfac import sampling

OUTPUTS = ("logits", "probabilities")


def squared_norms(
    model,
    inputs,
    likelihood,
    *,
    projections=None,
    of="logits",
    examples=None,
    step=0,
    seed=0,
):
    """Returns ‖J_x‖²_F of each example, [batch].

    Args:
        model: A Keras model that treats examples one by one.
        inputs: One float tensor [batch, ...].
        likelihood: What `outputs.likelihood_of` returned.
        projections: None for the exact value, at a backpropagation per output,
            or how many projections to average: unbiased, and of variance
            2 Σ_{i≠j} (J Jᵀ)²_ij / projections.
        of: "logits" (or means), or "probabilities".
        examples: Global indices of the examples, which determine the signs.
            Defaults to 0, 1, ...
        step: An int scalar, for other signs.
        seed: A Python int, for other signs.

    Raises:
        ValueError: If the input is not one float tensor, or an argument is not
            valid.
    """
    check(likelihood, projections, of)
    tensor = _float_tensor(inputs)

    def flat(tensor):
        z = outputs.logits(
            model, keras.tree.pack_sequence_as(inputs, [tensor]), likelihood
        )
        if of == "probabilities":
            z = outputs.probabilities(z, likelihood)
        batch, *sizes = ops.shape(z)
        return ops.reshape(z, (batch, math.prod(sizes)))

    values_at_inputs = []

    def cotangents(values):
        values_at_inputs.append(values)
        batch, size = ops.shape(values)
        if projections is None:
            return ops.eye(size, dtype=values.dtype)[None]
        draw = examples
        if draw is None:
            draw = ops.arange(batch, dtype="int32")
        signs = sampling.signs(draw, step, seed, projections * size)
        signs = ops.reshape(signs, (batch, projections, size))
        return ops.cast(signs, values.dtype)

    total = derivatives.current.squared_pullbacks(flat, tensor, cotangents)
    return outputs.undefined_where_not_finite(
        total / (projections or 1), tensor, *values_at_inputs
    )


def check(likelihood, projections, of):
    """Raises `ValueError` unless the arguments of `squared_norms` are valid."""
    arguments.check_choice("of", of, OUTPUTS)
    if of == "probabilities" and likelihood.distribution == "gaussian":
        raise ValueError(
            "`of` must be logits with a squared loss, which has no "
            f"probabilities. Received: of={of}"
        )
    if projections is not None:
        arguments.check_integer("projections", projections, 1)


def _float_tensor(inputs):
    leaves = keras.tree.flatten(inputs)
    if len(leaves) == 1:
        tensor = ops.convert_to_tensor(leaves[0])
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if "float" in dtype:
            return tensor
        received = f"one tensor of {dtype}"
    else:
        received = f"{len(leaves)} tensors"
    raise ValueError(
        "`inputs` must be one float tensor: there is no derivative with "
        f"respect to anything else. Received: {received}"
    )
