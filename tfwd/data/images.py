"""Labelled images, `[batch, height, width, channels]`, wherever they lie."""

import typing

import numpy as np
import tensorflow as tf

from tfwd.data import batches
from tfwd.data import pipeline
from tfwd.data import source


class Images(source.Source):
    """A data set of images: how batches are counted and normalized.

    Attributes:
        image_shape: (height, width, channels).
        mean: Per channel, for images scaled to 0..1.
        std: Per channel, for images scaled to 0..1; a model sees
            `(image - mean) / std`.
    """

    image_shape: typing.Any
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of one input of a model."""
        return self.image_shape

    def training_steps(
        self, batch_size: int, drop_remainder: bool = False
    ) -> int:
        """Returns the number of global batches in an epoch."""
        return pipeline.steps_of_epoch(
            self.size("train"), batch_size, drop_remainder
        )

    def evaluation_steps(self, split: str, batch_size: int) -> int:
        """Returns the number of global batches, a partial one too."""
        return pipeline.number_of_batches(self.size(split), batch_size)

    def finish(self, batch: batches.Batch, augment: bool) -> batches.Batch:
        """Normalizes the images, float32."""
        del augment
        return batch._replace(
            inputs=normalized(batch.inputs, self.mean, self.std)
        )


def normalized(images: tf.Tensor, mean, std) -> tf.Tensor:
    """Returns (image - mean) / std per channel, image scaled to 0..1.

    uint8 images are scaled by 1 / 255. The subtraction comes first because a
    compiler may fuse a product with a sum after it, but not a sum with a
    product: so the result has the same bits everywhere. The constants are
    whole images, which broadcast three times faster than a few channels do.

    Args:
        images: uint8 or float32; all but the batch is known statically.
        mean: One number per channel, for images in 0..1.
        std: Likewise.
    """
    largest = 255 if images.dtype == tf.uint8 else 1
    shift, scale = (
        tf.constant(np.broadcast_to(channels, images.shape[1:]), tf.float32)
        for channels in (
            largest * np.array(mean),
            1 / (largest * np.array(std)),
        )
    )
    return (tf.cast(images, tf.float32) - shift) * scale
