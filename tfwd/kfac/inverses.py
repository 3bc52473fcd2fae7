"""The units of inversion: one factor of one block each.

The cached inverse of a factor F with damping d is, in mode

| mode       | dense factor             | diagonal factor |
|------------|--------------------------|-----------------|
| `factored` | (F + dI)⁻¹ [..., n, n]   | 1/(F + d) [n]   |
| `eigen`    | eigenvectors, eigenvalues | the factor [n]  |
"""

import dataclasses
import math

from keras import ops

from tfwd.kfac import backend
from tfwd.kfac import damping as damping_lib
from tfwd.optimizers import finite

DAMPING_MODES = ("factored", "eigen")

# A factor whose Cholesky factorization fails in float32 is not positive
# definite by about the rounding of its largest eigenvalue; its trace is more.
_RETRY_FACTOR = 10.0
_RETRY_SHARE_OF_TRACE = 1e-6


@dataclasses.dataclass(frozen=True)
class Unit:
    """One factor of one block.

    Attributes:
        block: Number of the block.
        factor: Number of the factor in it.
        shape: The factor's shape; a vector is a factor's diagonal.
    """

    block: int
    factor: int
    shape: tuple[int, ...]

    @property
    def is_diagonal(self):
        """Whether the factor is kept as its diagonal."""
        return len(self.shape) == 1

    @property
    def cost(self):
        """Multiplications of an inversion, up to a constant."""
        if self.is_diagonal:
            return float(self.shape[0])
        return float(math.prod(self.shape) * self.shape[-1])

    def state_shapes(self, damping_mode):
        """Returns the shapes of the tensors of the cached inverse."""
        if self.is_diagonal or damping_mode == "factored":
            return (self.shape,)
        return (self.shape, self.shape[:-1])


def units_of(blocks_shapes):
    """Returns the units of all blocks, in order.

    Args:
        blocks_shapes: For each block the shapes of its factors.
    """
    return tuple(
        Unit(block, factor, shape)
        for block, shapes in enumerate(blocks_shapes)
        for factor, shape in enumerate(shapes)
    )


def inverted(unit, factors, diagonals, damping, damping_mode):
    """Returns the cached inverse of one factor, and how that went.

    Args:
        unit: The `Unit`.
        factors: All debiased factors of its block.
        diagonals: For each of them whether it is a diagonal.
        damping: λ, a scalar.
        damping_mode: One of `DAMPING_MODES`.

    Returns:
        A list of tensors of `unit.state_shapes`, and two booleans: whether the
        first attempt failed, and whether all did, so that the last inverse
        must be kept.
    """
    factor = factors[unit.factor]
    dtype = factor.dtype
    wide = backend.current.widest_float()
    if damping_mode == "eigen":
        if unit.is_diagonal:
            return _with_retry([factor], lambda: [factor], None)
        return _with_retry(
            [factor],
            lambda: _eigen(factor, dtype),
            lambda: _eigen(ops.cast(factor, wide), dtype),
        )
    added = damping
    if len(factors) == 2:
        means = [
            damping_lib.mean_eigenvalue(*pair)
            for pair in zip(factors, diagonals, strict=True)
        ]
        sizes = [each.shape[-1] for each in factors]
        both = damping_lib.factored_damping(*means, sizes, damping)
        added = both[unit.factor]
        if factor.shape[-1] == 1:
            # Undamped, a number must not be zero.
            mean = means[unit.factor]
            factor = ops.reshape(mean, factor.shape)
    added = ops.cast(added, dtype)
    if unit.is_diagonal:
        inverse = 1.0 / (factor + added)
        return _with_retry(factors, lambda: [inverse], None)

    def first():
        damped = damping_lib.add_to_diagonal(factor, added)
        return [backend.current.cholesky_inverse(damped)]

    def second():
        trace = damping_lib.mean_eigenvalue(factor) * factor.shape[-1]
        more = _RETRY_FACTOR * added + _RETRY_SHARE_OF_TRACE * trace
        damped = damping_lib.add_to_diagonal(
            ops.cast(factor, wide), ops.cast(more, wide)
        )
        return [ops.cast(backend.current.cholesky_inverse(damped), dtype)]

    # The damping of one factor depends on the trace of the other.
    return _with_retry(factors, first, second)


def _eigen(factor, dtype):
    # TensorFlow raises an error on what is not finite.
    identity = ops.eye(factor.shape[-1], dtype=factor.dtype)
    safe = ops.where(finite.all_finite([factor]), factor, identity)
    values, vectors = backend.current.eigenvalues_and_vectors(safe)
    values = ops.where(values < 0, ops.zeros_like(values), values)
    return [ops.cast(vectors, dtype), ops.cast(values, dtype)]


def _with_retry(factors, first, second):
    """Returns the first result, or the second, and how that went.

    A factor that is not finite itself may have a finite "inverse", of zeros.
    """
    possible = finite.all_finite(factors)
    result = first()
    good = finite.all_finite(result)
    if second is not None:
        result = backend.current.condition(good, lambda: result, second)
    failed_again = ops.logical_not(
        ops.logical_and(possible, finite.all_finite(result))
    )
    failed = ops.logical_not(ops.logical_and(possible, good))
    return list(result), failed, failed_again
