"""Patches by loops over positions and offsets, in numpy."""

import itertools

import numpy as np


def patches(images, kernel_size, strides, padding, dilation_rate):
    """Returns [batch, *positions, offsets, channels].

    Args:
        images: [batch, *space, channels].
        kernel_size: One size per axis of space, as the others.
        strides: Steps between positions.
        padding: "valid", "same" or "causal".
        dilation_rate: Steps between offsets.
    """
    margins, positions = [], []
    for size, kernel, stride, dilation in zip(
        images.shape[1:-1], kernel_size, strides, dilation_rate, strict=True
    ):
        covered = (kernel - 1) * dilation + 1
        if padding == "same":
            count = int(np.ceil(size / stride))
            total = max((count - 1) * stride + covered - size, 0)
            margins.append((total // 2, total - total // 2))
        else:
            before = covered - 1 if padding == "causal" else 0
            count = len(range(0, size + before - covered + 1, stride))
            margins.append((before, 0))
        positions.append(count)
    padded = np.pad(images, [(0, 0), *margins, (0, 0)])
    offsets = list(itertools.product(*map(range, kernel_size)))
    shape = (len(images), *positions, len(offsets), images.shape[-1])
    result = np.zeros(shape, images.dtype)
    for position in np.ndindex(*positions):
        for index, offset in enumerate(offsets):
            where = tuple(
                p * stride + o * dilation
                for p, stride, o, dilation in zip(
                    position, strides, offset, dilation_rate, strict=True
                )
            )
            result[(slice(None), *position, index)] = padded[
                (slice(None), *where)
            ]
    return result
