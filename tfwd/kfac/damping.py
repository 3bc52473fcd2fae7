"""Damped inverses of A ⊗ G, and their product with a gradient.

Shapes: A [..., n, n] or its diagonal [n], G [..., m, m] (leading axes are
groups of channels, each with its own factors), the gradient V [..., n, m]. G is
summed over the positions of an example, which makes it T times the S of Zhang
et al. 2019; the block is then A ⊗ G without a factor T.
"""

from keras import ops

# A factor of zeros (a dead layer) counts as this much on average.
_SMALLEST_TRACE = 1e-12


def mean_eigenvalue(factor, is_diagonal=False):
    """Returns tr(F)/dim(F) for each group, [...], at least 1e-12."""
    if not is_diagonal:
        factor = ops.diagonal(factor, axis1=-2, axis2=-1)
    mean = ops.sum(factor, axis=-1) / factor.shape[-1]
    smallest = ops.cast(_SMALLEST_TRACE, mean.dtype)
    return ops.where(mean > smallest, mean, smallest)


def factored_tikhonov(mean_a, mean_g, damping):
    """Returns what is added to the diagonals of A and of G.

    ```
    π = √(mean_a/mean_g)                    A + π√λ I,  G + (√λ/π) I
    ```

    The two identities multiply to λ, and neither factor is damped more,
    relative to its own size, than the other. With G = T·S this equals the
    spatial factor of Zhang et al. 2019: A + π_S √(λ/T) I and
    T·(S + (√(λ/T)/π_S) I), with π_S made of A and S.

    Args:
        mean_a: tr(A)/dim(A), [...].
        mean_g: tr(G)/dim(G), [...].
        damping: λ, a scalar.

    References:
        Martens & Grosse 2015, Section 6.3; π by traces, as in the code of
        Zhang et al. 2019.
    """
    pi = ops.sqrt(mean_a / mean_g)
    root = ops.sqrt(ops.cast(damping, pi.dtype))
    return pi * root, root / pi


def factored_damping(mean_a, mean_g, sizes, damping):
    """Returns what is added to the diagonals of A and of G.

    That of `factored_tikhonov`, unless one factor is a number, as G is of a
    layer of one output. All damping then goes into the other one, which is
    exact:

    ```
    (A ⊗ g + λI)⁻¹ = (A + (λ/g) I)⁻¹ ⊗ g⁻¹
    ```

    Args:
        mean_a: tr(A)/dim(A), [...].
        mean_g: tr(G)/dim(G), [...].
        sizes: (dim(A), dim(G)).
        damping: λ, a scalar.
    """
    size_a, size_g = sizes
    damping = ops.cast(damping, mean_a.dtype)
    if size_g == 1:
        return damping / mean_g, ops.zeros_like(mean_g)
    if size_a == 1:
        return ops.zeros_like(mean_a), damping / mean_a
    return factored_tikhonov(mean_a, mean_g, damping)


def add_to_diagonal(factor, damping):
    """Returns F + dI for F [..., n, n] and d [...]."""
    identity = ops.eye(factor.shape[-1], dtype=factor.dtype)
    return factor + ops.expand_dims(damping, (-1, -2)) * identity


def precondition(gradient, inverse_a, inverse_g=None, is_diagonal=False):
    """Returns A⁻¹ V G⁻¹; without G, A⁻¹ V.

    Args:
        gradient: V, [..., n, m].
        inverse_a: [..., n, n], or [n] if `is_diagonal`.
        inverse_g: [..., m, m] or None.
        is_diagonal: Whether A is kept as its diagonal.
    """
    if is_diagonal:
        result = ops.expand_dims(inverse_a, -1) * gradient
    else:
        result = ops.matmul(inverse_a, gradient)
    if inverse_g is not None:
        result = ops.matmul(result, inverse_g)
    return result


def precondition_eigen(gradient, a, g, damping):
    """Returns (A ⊗ G + λI)⁻¹ V by the eigenvectors of the factors.

    ```
    Q_A [ (Q_Aᵀ V Q_G) / (d_A d_Gᵀ + λ) ] Q_Gᵀ
    ```

    Args:
        gradient: V, [..., n, m].
        a: (eigenvalues d_A [..., n], eigenvectors Q_A [..., n, n] or None for
            the identity).
        g: The same for G, [..., m] and [..., m, m]; or None for a block
            without G.
        damping: λ, a scalar.

    References:
        Martens & Grosse 2015, Appendix B.
    """
    values, vectors_a = a
    vectors_g = None
    values = ops.expand_dims(values, -1)
    if g is not None:
        values_g, vectors_g = g
        values = values * ops.expand_dims(values_g, -2)
    if vectors_a is not None:
        gradient = ops.matmul(_transposed(vectors_a), gradient)
    if vectors_g is not None:
        gradient = ops.matmul(gradient, vectors_g)
    gradient = gradient / (values + damping)
    if vectors_a is not None:
        gradient = ops.matmul(vectors_a, gradient)
    if vectors_g is not None:
        gradient = ops.matmul(gradient, _transposed(vectors_g))
    return gradient


def _transposed(matrix):
    return ops.swapaxes(matrix, -1, -2)
