"""The one concept of weight decay: five modes that differ in a scale.

With ηₜ the scheduled learning rate, λₜ the coefficient times its schedule,
θ the variable before the step and sₜ the optimizer's own scale:

| mode          | effect              | source                                |
|---------------|---------------------|---------------------------------------|
| `l2`          | g ← g + λₜθ         | gradient of ½λ‖θ‖², after clipping    |
| `decoupled`   | θ ← θ − ηₜλₜθ       | Loshchilov & Hutter 2019, as shipped  |
| `stable`      | θ ← θ − ηₜsₜλₜθ     | Xie et al. 2022, Stable Weight Decay  |
| `independent` | θ ← θ − λₜθ         | Xie et al. 2022, Eq. 1                |
| `elementwise` | θ ← θ − ηₜv̂ₜ^(−½)λₜθ | Xie et al. 2022, Eq. 10 (an ablation) |
"""

import math
import typing

import keras
from keras import ops

from tfwd import types

_LONGEST_SUM = 2**16

MODES: tuple[types.DecayMode, ...] = typing.get_args(types.DecayMode)


def penalized_gradient(gradient, variable, coefficient):
    """Returns g + λθ, the gradient of the loss plus ½λ‖θ‖²."""
    return gradient + coefficient * variable


def decay_rate(mode, learning_rate, effective_weight_decay):
    """Returns the fraction of θ that a step removes outside the gradient.

    Args:
        mode: One of `MODES`.
        learning_rate: ηₜ, scalar.
        effective_weight_decay: sₜλₜ, scalar.

    Returns:
        λₜ for `"independent"`, 0 for `"l2"`, else ηₜsₜλₜ. A rate of one or
        more overshoots zero.
    """
    if mode == "l2":
        # A product, not the number 0: XLA rounds θ − a·b once if nothing
        # stands between, and with λ = 0 all modes are the same, bit for bit.
        return 0.0 * effective_weight_decay
    if mode == "independent":
        return effective_weight_decay
    return learning_rate * effective_weight_decay


def inverse_power(second_moment, exponent, offset=0.0):
    """Returns (v + offset)^(−exponent), and 0 where v + offset is 0.

    A second moment of zero means that no gradient has been seen, so nothing is
    known of the effective learning rate and nothing decays. What a float32
    cannot hold as a normal number counts as zero, which keeps the result
    finite for every exponent up to one.

    Args:
        second_moment: v, of any shape, non-negative.
        exponent: p of Xie et al. 2022, Algorithm 2, in [0, 1]; 0 gives 1
            everywhere.
        offset: Added to v.
    """
    if exponent == 0:
        return ops.ones_like(second_moment)
    smallest_normal = 1.2e-38
    shifted = second_moment + offset
    seen = shifted > smallest_normal
    safe = ops.where(seen, shifted, ops.ones_like(shifted))
    power = ops.power(safe, -exponent)
    return ops.where(seen, power, ops.zeros_like(power))


def global_mean(tensors):
    """Returns the mean over all elements of all tensors, a scalar.

    The mean of Xie et al. 2022 weighs every element alike: a bias of ten
    elements does not count as much as a kernel of a million, as it would in a
    mean of means. Summed in float32, or in float64 if a tensor is, with a
    relative error below 1e-6 over 20 million elements of any shape.
    """
    dtypes = {keras.backend.standardize_dtype(t.dtype) for t in tensors}
    dtype = "float64" if "float64" in dtypes else "float32"
    total = sum(_sum_by_rows(ops.cast(tensor, dtype)) for tensor in tensors)
    size = sum(math.prod(tensor.shape) for tensor in tensors)
    return total / max(size, 1)


def _sum_by_rows(tensor):
    # XLA on CPU adds the elements of one tensor one after the other, which
    # loses 2e-3 of the sum of 40 million in float32. Two sums it would merge
    # into one; with means of rows between them it does not.
    size = math.prod(tensor.shape)
    if size <= _LONGEST_SUM:
        return ops.sum(tensor)
    columns = tensor.shape[-1]
    if columns <= _LONGEST_SUM:
        return _sum_by_rows(ops.sum(tensor, axis=-1) / columns) * columns
    columns = math.isqrt(size)
    flat = ops.reshape(tensor, (size,))
    square, rest = flat[: columns**2], flat[columns**2 :]
    rows = ops.reshape(square, (columns, columns))
    return ops.sum(ops.sum(rows, axis=-1) / columns) * columns + ops.sum(rest)
