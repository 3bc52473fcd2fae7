"""What Keras does to gradients before the update, in numpy."""

import numpy as np


def clip_by_norm(step, bound):
    return [g * min(1, bound / np.linalg.norm(g)) for g in step]


def clip_by_global_norm(step, bound):
    norm = np.sqrt(sum(np.sum(g**2) for g in step))
    return [g * min(1, bound / norm) for g in step]


def clip_by_value(step, bound):
    return [np.clip(g, -bound, bound) for g in step]


CLIPS = (
    ("clipnorm", 0.5, clip_by_norm),
    ("global_clipnorm", 0.5, clip_by_global_norm),
    ("clipvalue", 0.05, clip_by_value),
)


def means_of_three(gradients):
    """Returns the mean gradient of each three consecutive steps."""
    return [
        [np.mean(group, axis=0) for group in zip(*three, strict=True)]
        for three in zip(*[iter(gradients)] * 3, strict=True)
    ]
