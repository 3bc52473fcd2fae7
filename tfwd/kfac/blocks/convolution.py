"""Convolutions: a position of the output is a row, its patch the input.

The patches are made of slices, one per offset of the kernel. Keras'
`extract_patches` convolves with an identity kernel: it takes up to twice as
long, knows no stride together with dilation, and on a GPU rounds to TF32.
"""

import itertools
import math

from keras import ops

from tfwd.kfac.blocks import kronecker


class ConvolutionBlock(kronecker.KroneckerBlock):
    """C = A ⊗ G of a convolution, one A and one G per group of channels.

    A patch is ordered as the kernel, offsets before channels.
    """

    @property
    def kind(self):
        """conv1d or conv2d, grouped_ before it if there are groups."""
        name = f"conv{len(self.layer.kernel_size)}d"
        return name if self.sizes[0] is None else f"grouped_{name}"

    def input_rows(self, features):
        """Returns [(groups,) rows, n]."""
        layer = self.layer
        pieces = slices(
            self._groups_in_batch(self._channels_last(self._cast(features))),
            layer.kernel_size,
            layer.strides,
            layer.dilation_rate,
            layer.padding,
        )
        if self.has_bias:
            # Here and not by `append_one`, which would copy all patches.
            pieces.append(ops.ones_like(pieces[0][..., :1]))
        patches = ops.concatenate(pieces, axis=-1)
        shape = () if self.sizes[0] is None else (self.sizes[0],)
        return ops.reshape(patches, (*shape, -1, patches.shape[-1]))

    def gradient_rows(self, gradient):
        """Returns [(groups,) rows, m]."""
        return super().gradient_rows(self._channels_last(gradient))

    def _sizes(self):
        kernel = self.variables[0].shape
        groups = self.layer.groups
        n, m = math.prod(kernel[:-1]), kernel[-1] // groups
        return (None if groups == 1 else groups), n, m

    def _grid(self, gradient):
        shape = ops.shape(gradient)
        if self.layer.data_format == "channels_last":
            return shape[:-1]
        return (shape[0], *shape[2:])

    def _masked_axes(self, grid):
        # A mask over positions of the input says nothing of the output's.
        del grid
        return 1

    def _groups_in_batch(self, images):
        """Returns [groups · batch, *space, channels of a group].

        Moving the groups out of images is cheaper than out of patches.
        """
        groups = self.sizes[0]
        if groups is None:
            return images
        *shape, channels = ops.shape(images)
        images = ops.reshape(images, (*shape, groups, channels // groups))
        images = ops.moveaxis(images, -2, 0)
        return ops.reshape(images, (-1, *shape[1:], channels // groups))

    def _channels_last(self, tensor):
        if self.layer.data_format == "channels_last":
            return tensor
        return ops.moveaxis(tensor, 1, -1)


class DepthwiseConvolutionBlock(ConvolutionBlock):
    """C = A ⊗ G of a depthwise convolution; each channel is a group."""

    @property
    def kind(self):
        """depthwise_conv2d."""
        return f"depthwise_conv{len(self.layer.kernel_size)}d"

    def _sizes(self):
        *kernel, channels, multiplier = self.variables[0].shape
        return channels, math.prod(kernel), multiplier


def slices(images, kernel_size, strides, dilation_rate, padding):
    """Returns what each offset of a kernel sees, one tensor per offset.

    Args:
        images: [batch, *space, ...].
        kernel_size: One size per axis of space, as the next two.
        strides: Steps between positions.
        dilation_rate: Steps between offsets.
        padding: "valid", "same" or "causal".

    Returns:
        A list of [batch, *positions, ...], offsets in the kernel's order.
    """
    rank = len(kernel_size)
    sizes = ops.shape(images)[1 : rank + 1]
    axes = [
        _padding_and_positions(*axis, padding)
        for axis in zip(sizes, kernel_size, strides, dilation_rate, strict=True)
    ]
    # Up to a multiple of the stride, for `_phases`.
    margins = [
        (before, after + (-(size + before + after)) % stride)
        for (before, after, _), size, stride in zip(
            axes, sizes, strides, strict=True
        )
    ]
    if any(margin != (0, 0) for margin in margins):
        rest = [(0, 0)] * (len(images.shape) - rank - 1)
        images = ops.pad(images, [(0, 0), *margins, *rest])
    phases = _phases(images, strides)
    pieces = []
    for offsets in itertools.product(*map(range, kernel_size)):
        phase, window = [], []
        for offset, stride, dilation, (_, _, positions) in zip(
            offsets, strides, dilation_rate, axes, strict=True
        ):
            start, remainder = divmod(offset * dilation, stride)
            phase.append(remainder)
            window.append(slice(start, start + positions))
        pieces.append(phases[(*phase, slice(None), *window)])
    return pieces


def _phases(images, strides):
    """Returns [*strides, batch, *space / strides, ...].

    Every step of a stride in an array of its own, so that the slices have
    steps of one: TensorFlow takes seven times as long over steps of two.
    """
    rank = len(strides)
    batch, *sizes = ops.shape(images)
    shape = [batch]
    for size, stride in zip(sizes[:rank], strides, strict=True):
        shape += [size // stride, stride]
    images = ops.reshape(images, (*shape, *sizes[rank:]))
    inner = [2 * axis + 2 for axis in range(rank)]
    outer = [2 * axis + 1 for axis in range(rank)]
    rest = list(range(2 * rank + 1, len(images.shape)))
    return ops.transpose(images, (*inner, 0, *outer, *rest))


def _padding_and_positions(size, kernel_size, stride, dilation, padding):
    reach = (kernel_size - 1) * dilation
    if padding == "valid":
        return 0, 0, (size - reach - 1) // stride + 1
    positions = (size - 1) // stride + 1
    if padding == "causal":
        return reach, 0, positions
    # "same" as TensorFlow has it: the odd one goes after.
    total = (positions - 1) * stride + reach + 1 - size
    total = max(0, total) if isinstance(total, int) else ops.maximum(0, total)
    return total // 2, total - total // 2, positions
