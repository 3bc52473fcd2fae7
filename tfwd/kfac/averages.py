"""The term that a batch is in the averages of the factors.

With F the factor that one batch estimates, F̄ ← decay·F̄ + share·F.
"""

import typing

from keras import ops


class Term(typing.NamedTuple):
    """Which examples a batch holds, and how it enters the averages.

    Attributes:
        step: The step, an int scalar; of the sampled vectors.
        part: The number of the batch in its step, an int scalar.
        decay: What remains of the old terms, a scalar.
        share: The weight of the new one, a scalar.
    """

    step: object
    part: object
    decay: object
    share: object


def moving(factor_decay, step, part, parts, dtype):
    """Returns the term of one of the `parts` batches of a step.

    They are one term of the average together: the old ones decay once, at the
    first.
    """
    decay = ops.convert_to_tensor(factor_decay, dtype)
    decay = ops.where(ops.equal(part, 0), decay, ops.ones_like(decay))
    share = (1 - factor_decay) / ops.cast(parts, dtype)
    return Term(step, part, decay, share)


def plain(count, step):
    """Returns the term of a batch that comes after `count` equal ones."""
    share = 1.0 / (count + 1.0)
    return Term(step, 0, 1 - share, share)
