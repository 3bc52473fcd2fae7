"""The IDX format of MNIST's files.

Two zero bytes, the type of the numbers (8: unsigned bytes), the number of
dimensions, each dimension as 4 bytes, the most significant first, and then
the numbers, the last dimension running fastest. See LeCun, Cortes & Burges,
"The MNIST database of handwritten digits", http://yann.lecun.com/exdb/mnist.
"""

import math
import struct

import numpy as np

from tfwd.data import sources

# Of images and labels.
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read(source: sources.Source) -> dict[str, dict[str, np.ndarray]]:
    """Reads the splits of MNIST.

    Returns:
        For "train" and "test" the arrays "image", uint8
        `[examples, 28, 28, 1]`, and "label", uint8 `[examples]`.

    Raises:
        ValueError: A file is missing or does not hold what its name says.
    """
    splits = {}
    for split, names in FILES.items():
        pixels, labels = (
            decoded(source.read(name), source.place(name), shape)
            for name, shape in zip(names, ((28, 28), ()), strict=True)
        )
        splits[split] = {"image": pixels[..., None], "label": labels}
    return splits


def decoded(raw: bytes, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the numbers of an IDX file, uint8 `[examples, *shape]`.

    Args:
        raw: The file.
        name: What errors call it.
        shape: Of one example.

    Raises:
        ValueError: Another magic number, shape or size.
    """
    magic = bytes([0, 0, 8, 1 + len(shape)])
    if raw[:4] != magic:
        raise ValueError(
            f"{name} must begin with the magic number 0x{magic.hex()}. "
            f"Received: 0x{raw[:4].hex()}"
        )
    start = 4 * (2 + len(shape))
    header = raw[4:start].ljust(start - 4, b"\0")
    size, *found = struct.unpack(f">{1 + len(shape)}I", header)
    if tuple(found) != shape:
        raise ValueError(
            f"{name} must hold examples of shape {shape}. "
            f"Received: {tuple(found)}"
        )
    expected = start + size * math.prod(shape)
    if len(raw) != expected:
        raise ValueError(
            f"{name} must have {expected} bytes, for {size} examples. "
            f"Received: {len(raw)} bytes"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(size, *shape)
