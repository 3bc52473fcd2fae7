"""The Gauss-Newton norm θᵀGθ = E ‖J_θ θ‖² of the weights, inference mode.

J_θ θ = d z(sθ)/ds at s = 1, the change of the outputs when all weights grow
together: one forward derivative of a batch, whatever the number of weights.
Where a model makes several predictions per example, the norm is their mean, as
the loss is; a Keras mask of predictions is not heeded.

For chains of n_L layers without biases and with ReLU, max or average pooling,
θᵀGθ = n_L² E ‖z‖².

References:
    Zhang et al. 2019, section 4.2.1 and Equation 16.
"""

import keras
from keras import ops

from tfwd.diagnostics import outputs
from tfwd.diagnostics.backend import derivatives
from tfwd.kfac import capture


def squared_norms(model, inputs, likelihood, variables=None):
    """Returns ‖J_θ θ‖² of each example, [batch].

    Args:
        model: A built Keras model.
        inputs: Its inputs.
        likelihood: What `outputs.likelihood_of` returned.
        variables: θ; all trainable variables by default.
    """
    _, tangent = along_weights(model, inputs, likelihood, variables)
    return ops.mean(ops.sum(ops.square(tangent), axis=-1), axis=-1)


def along_weights(model, inputs, likelihood, variables=None):
    """Returns z and J_θ θ, both [batch, predictions, outputs].

    Raises:
        ValueError: If there is no variable.
    """
    if variables is None:
        variables = model.trainable_variables
    if not variables:
        raise ValueError(
            "`variables` must hold a variable. Received: none, of the model "
            f"{model.name}"
        )
    values = [capture.stored_value(variable) for variable in variables]
    dtype = keras.backend.result_type(*(v.dtype for v in variables))

    def scaled(s):
        replaced = [
            (variable, ops.cast(s, value.dtype) * value)
            for variable, value in zip(variables, values, strict=True)
        ]
        return outputs.with_predictions(
            outputs.logits(model, inputs, likelihood, replaced)
        )

    z, tangent = derivatives.current.derivative(scaled, dtype)
    return z, outputs.undefined_where_not_finite(tangent, z)
