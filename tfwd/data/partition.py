"""The fixed division of a training set into training and validation."""

import dataclasses

import numpy as np

from tfwd.data import in_memory

HOLD_OUT_SEED = 20190507


def fixed_permutation(size: int) -> np.ndarray:
    """Returns one and the same permutation of `range(size)` every time.

    `RandomState` and not `default_rng`: numpy promises that its stream
    never changes, so that a held-out set means the same for all versions.
    """
    return np.random.RandomState(HOLD_OUT_SEED).permutation(size)


def hold_out(
    splits: in_memory.Splits,
    num_validation: int = 0,
    train_fraction: float = 1.0,
) -> in_memory.Splits:
    """Divides the training set into validation and training examples.

    With one fixed permutation of the n training examples, the first
    `num_validation` become the validation set and of the remaining ones
    the first `round(train_fraction * (n - num_validation))`, at least one,
    stay in training. So the held-out examples depend on `num_validation`
    alone, and a smaller training set is part of a larger one. Within a
    split the stored order is kept.

    Raises:
        ValueError: `num_validation` is negative or leaves nothing to train
            on, or `train_fraction` is not in (0, 1].
    """
    size = len(splits.train)
    num_kept = num_training(size, num_validation, train_fraction)
    permutation = fixed_permutation(size)
    held_out, rest = np.split(permutation, [num_validation])
    kept = rest[:num_kept]
    return dataclasses.replace(
        splits,
        train=splits.train.take(np.sort(kept)),
        validation=splits.train.take(np.sort(held_out))
        if num_validation
        else None,
    )


def num_training(size: int, num_validation: int, train_fraction: float) -> int:
    """Returns how many of `size` examples are left to train on, at least 1.

    Raises:
        ValueError: as for `hold_out`.
    """
    if not 0 <= num_validation < size:
        raise ValueError(
            "`num_validation` must be at least 0 and smaller than the "
            f"training set of {size} examples. "
            f"Received: num_validation={num_validation}"
        )
    if not 0 < train_fraction <= 1:
        raise ValueError(
            "`train_fraction` must be in (0, 1]. "
            f"Received: train_fraction={train_fraction}"
        )
    return max(1, round(train_fraction * (size - num_validation)))
