"""The Fisher-Rao norm of the weights, inference mode.

```
θᵀFθ = E[(J_θ θ)ᵀ H (J_θ θ)]          H as in `tfwd.kfac.likelihoods`
```

H is diag(p) − ppᵀ for a softmax, diag(p(1 − p))/K for a sigmoid and (2/K) I for
the mean squared error of K outputs: that of the loss of one prediction. Means
over predictions are taken as in `tfwd.diagnostics.gauss_newton`.

With the gradient ∂ℓ/∂z of the labels in place of H the same form is another
quantity, the one that Liang et al. call the Fisher-Rao norm: ⟨∂ℓ/∂z, J_θ θ⟩².

References:
    Zhang et al. 2019, section 4.2.1; Liang et al. 2019, Definition 2.
"""

from keras import ops

from tfwd.diagnostics import gauss_newton
from tfwd.diagnostics import outputs
from tfwd.diagnostics.backend import derivatives


def squared_norms(model, inputs, likelihood, variables=None):
    """Returns (J_θ θ)ᵀ H (J_θ θ) of each example, [batch].

    Args:
        model: A built Keras model.
        inputs: Its inputs.
        likelihood: What `outputs.likelihood_of` returned.
        variables: θ; all trainable variables by default.
    """
    z, tangent = gauss_newton.along_weights(
        model, inputs, likelihood, variables
    )
    if likelihood.distribution == "gaussian":
        products = 2 * ops.mean(ops.square(tangent), axis=-1)
    else:
        p = outputs.probabilities(z, likelihood)
        if likelihood.distribution == "softmax":
            # The variance of the tangent under p, which cannot be negative.
            mean = ops.sum(p * tangent, axis=-1, keepdims=True)
            products = ops.sum(p * ops.square(tangent - mean), axis=-1)
        else:
            products = ops.mean(p * (1 - p) * ops.square(tangent), axis=-1)
    return ops.mean(products, axis=-1)


def label_norms(model, inputs, labels, likelihood, variables=None):
    """Returns ⟨∂ℓ/∂z, J_θ θ⟩² of each example, [batch].

    Args:
        model: A built Keras model.
        inputs: Its inputs.
        labels: As the loss takes them.
        likelihood: What `outputs.likelihood_of` returned.
        variables: θ; all trainable variables by default.

    Raises:
        ValueError: If there are no labels.
    """
    if labels is None:
        raise ValueError(
            "The norm with labels needs them beside the inputs. "
            "Received: labels=None"
        )
    z, tangent = gauss_newton.along_weights(
        model, inputs, likelihood, variables
    )
    gradient = _gradient_of_labels(z, labels, likelihood)
    products = ops.square(ops.sum(gradient * tangent, axis=-1))
    return ops.mean(products, axis=-1)


def _gradient_of_labels(z, labels, likelihood):
    """Returns ∂ℓ/∂z of every prediction's own loss, like z."""

    def total(z):
        output = (
            z
            if likelihood.from_logits
            else outputs.probabilities(z, likelihood)
        )
        return ops.sum(likelihood.losses(output, labels))

    return derivatives.kfac.gradient_of(total, z)
