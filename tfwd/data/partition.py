"""Labelled examples in memory and their fixed division into splits.

Images are `[examples, height, width, channels]`, labels `[examples]`.
"""

import dataclasses

import numpy as np

HOLD_OUT_SEED = 20190507


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Images and their labels.

    Args:
        images: uint8 in 0..255 or float32 in 0..1,
            `[examples, height, width, channels]`.
        labels: int32 class numbers, `[examples]`.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Examples":
        """Returns the examples at `indices`, in that order."""
        return Examples(self.images[indices], self.labels[indices])


@dataclasses.dataclass(frozen=True, eq=False)
class Splits:
    """A data set: its splits and what a model has to know about it.

    Args:
        name: the name that `tfwd.data.load` was given.
        train: what the model is trained on.
        validation: what was held out of the training set, or None.
        test: the test set.
        num_classes: labels are in `[0, num_classes)`.
        image_shape: (height, width, channels).
        mean: per channel, for images scaled to 0..1.
        std: per channel, for images scaled to 0..1; a model sees
            `(image - mean) / std`.
    """

    name: str
    train: Examples
    validation: Examples | None
    test: Examples
    num_classes: int
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of one input of a model."""
        return self.image_shape

    @property
    def split_names(self) -> tuple[str, ...]:
        """The names of the splits that there are."""
        names = ("train", "validation", "test")
        return tuple(name for name in names if getattr(self, name) is not None)

    def examples(self, split: str) -> Examples:
        """Returns the examples of a split.

        Raises:
            ValueError: there is no split of that name.
        """
        check_split(split, self.split_names)
        return getattr(self, split)

    def size(self, split: str) -> int:
        """Returns the number of examples of a split; raises ValueError."""
        return len(self.examples(split))


def fixed_permutation(size: int) -> np.ndarray:
    """Returns one and the same permutation of `range(size)` every time.

    `RandomState` and not `default_rng`: numpy promises that its stream
    never changes, so that a held-out set means the same for all versions.
    """
    return np.random.RandomState(HOLD_OUT_SEED).permutation(size)


def hold_out(
    splits: Splits, num_validation: int = 0, train_fraction: float = 1.0
) -> Splits:
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


def check_split(split: str, names: tuple[str, ...]):
    """Raises ValueError unless `split` is one of `names`."""
    if split not in names:
        raise ValueError(
            f"`split` must be one of {', '.join(names)}. "
            f"Received: split={split}"
        )
