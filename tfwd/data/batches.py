"""A batch, and the replicas that share it out."""

import dataclasses
import typing

import tensorflow as tf


class Batch(typing.NamedTuple):
    """The examples of one replica in one step.

    Attributes:
        inputs: Images, uint8 or float32 [n, height, width, channels], or
            token ids, int32 [n, time].
        labels: Class numbers, int32 [n], or the next tokens, [n, time].
        weights: float32, of the shape of `labels`. In training 1 / (number of
            predictions in the global batch), in evaluation 1, and 0 for
            padding: the sum of weights * losses over all replicas is the mean
            loss, however the batch is divided.
        keys: uint32 [n], hash of (seed, epoch, example); whatever is random
            about an example is a function of it.
    """

    inputs: tf.Tensor
    labels: tf.Tensor
    weights: tf.Tensor
    keys: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Shard:
    """The replicas that one input pipeline feeds.

    Args:
        num_replicas: Of the whole strategy.
        first: Number of the first replica fed.
        count: How many are fed; the pipeline yields their batches in turn.
    """

    num_replicas: int = 1
    first: int = 0
    count: int = 1

    def rows(self, size, replica):
        """Returns where a replica's share of `size` rows starts and stops.

        The shares are consecutive and differ by at most one row; ints or
        integer tensors.
        """
        return (
            replica * size // self.num_replicas,
            (replica + 1) * size // self.num_replicas,
        )

    def equal_rows(self, size: int) -> int | None:
        """Returns every replica's share of `size`, None if they differ."""
        rows, rest = divmod(size, self.num_replicas)
        return None if rest else rows
