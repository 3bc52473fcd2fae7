"""The KL clip: a bound on what a step changes the model's predictions."""

from keras import ops


def scale(kl_clip, learning_rate, inner):
    """Returns ν = min(1, √(κ/(η² Σ⟨V, U⟩))), and 1 where the sum is not > 0.

    η²⟨V, U⟩ is the square of the step −ηU in the metric of the curvature, to
    second order twice the Kullback–Leibler divergence of the predictions.

    Args:
        kl_clip: κ.
        learning_rate: η.
        inner: Σ⟨V, U⟩, V the gradients and U the preconditioned ones.
    """
    squared = learning_rate * learning_rate * inner
    positive = squared > 0
    safe = ops.where(positive, squared, ops.ones_like(squared))
    nu = ops.sqrt(kl_clip / safe)
    return ops.where(
        ops.logical_and(positive, nu < 1), nu, ops.ones_like(squared)
    )
