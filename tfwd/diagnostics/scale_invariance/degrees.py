"""In which degree the channels of a tensor scale with some weight."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Scaling:
    """A tensor x(c) = c^d x(1) + (1 - c^d) o, as a weight is multiplied by c.

    c > 0 is any factor, d[k] the degree of channel k, an index of the last
    axis, and o[k] an offset that does not scale, such as a bias. It is the
    same for all examples and positions.

    Attributes:
        degrees: d, ints, [channels]; [] where the channels are not known, or
            where the last axis is the batch.
        has_offset: Whether there may be an offset.
    """

    degrees: np.ndarray
    has_offset: bool = False

    @property
    def is_fixed(self):
        """Whether the tensor does not change at all."""
        return not self.degrees.any()

    @property
    def degree(self):
        """The one degree of all channels, or None if they differ."""
        first = int(self.degrees.flat[0])
        return first if (self.degrees == first).all() else None


def uniform(tensor, degree, has_offset=False):
    """Returns the `Scaling` of a `graph.Tensor` of one degree."""
    shape = () if tensor.channels is None else (tensor.channels,)
    return Scaling(np.full(shape, degree), has_offset and degree > 0)


def rearranged(tensor, x):
    """Returns the `Scaling` of elements of x in whatever order, or None."""
    if x.degree is None or x.has_offset:
        return None
    return uniform(tensor, x.degree)


def is_channels_last(layer):
    """Returns whether the last axis of a layer's tensors is its channels."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"
