"""What every data set hands to training: batches, one per replica.

`Source` is abstract. Its leaves are images in memory (`in_memory.Splits`),
images read from files while training (`image_files.Records`) and a text
(`text.Text`).
"""

import abc

import tensorflow as tf

from tfwd.data import batches


class Source(abc.ABC):
    """A data set, of which every method is the same on any strategy.

    Attributes:
        name: The name that `tfwd.data.load` was given.
        num_classes: Labels are in `[0, num_classes)`.
        input_shape: The shape of one input of a model.
    """

    @property
    @abc.abstractmethod
    def split_names(self) -> tuple[str, ...]:
        """The names of the splits that there are."""

    @abc.abstractmethod
    def size(self, split: str) -> int:
        """Returns the number of examples, of a text of predictions.

        Raises:
            ValueError: There is no split of that name.
        """

    @abc.abstractmethod
    def training_steps(
        self, batch_size: int, drop_remainder: bool = False
    ) -> int:
        """Returns the number of global batches in an epoch.

        Args:
            batch_size: Examples per global batch; for text the streams.
            drop_remainder: As in `training_batches`.
        """

    @abc.abstractmethod
    def training_batches(
        self,
        batch_size: int,
        *,
        seed: int,
        augment: bool,
        shard: batches.Shard = batches.Shard(),  # noqa: B008 - frozen
        first_epoch: int = 0,
        first_step: int = 0,
        finished: bool = True,
        drop_remainder: bool = False,
    ) -> tf.data.Dataset:
        """Returns the batches of all epochs from one step on, without end.

        What a step holds depends on (seed, epoch, step) alone, not on where
        the dataset starts or on how many replicas there are.

        Args:
            batch_size: Examples per global batch; for text the streams.
            seed: Determines, with the epoch, order, augmentation and `keys`.
            augment: Whether images are cropped and flipped at random.
            shard: The replicas to feed.
            first_epoch: The epoch to start in, from 0.
            first_step: The step of that epoch to start with, from 0.
            finished: False leaves to `finish`, on the device, what it does.
            drop_remainder: Leaves out the last batch of an epoch if it is not
                full. Every shape is static then, as TPUs want it, where the
                replicas divide `batch_size`.

        Returns:
            Elements `Batch`: step by step, in each the replicas of `shard`.

        Raises:
            ValueError: A batch size or an augmentation that is not possible,
                or `first_step` is not in an epoch.
        """

    @abc.abstractmethod
    def evaluation_steps(self, split: str, batch_size: int) -> int:
        """Returns the number of global batches of a split."""

    @abc.abstractmethod
    def evaluation_batches(
        self,
        split: str,
        batch_size: int,
        *,
        shard: batches.Shard = batches.Shard(),  # noqa: B008 - frozen
        finished: bool = True,
    ) -> tf.data.Dataset:
        """Returns all predictions of a split once, in order, in equal batches.

        Every batch has ceil(batch_size / replicas) rows; padding has weight
        0. All `keys` are 0.

        Args:
            split: "train", "validation" or "test".
            batch_size: Examples per global batch; for text the streams.
            shard: The replicas to feed.
            finished: As in `training_batches`.

        Returns:
            Elements `Batch`: step by step, in each the replicas of `shard`.

        Raises:
            ValueError: `batch_size` is below 1, or there is no such split.
        """

    @abc.abstractmethod
    def finish(self, batch: batches.Batch, augment: bool) -> batches.Batch:
        """Does what is cheaper on an accelerator: augments and normalizes.

        A function of tensors, to be called in a pipeline or in a compiled
        step.
        """

    def find_damage(self):  # noqa: B027 - in memory there is none
        """Looks for what is damaged in the files that training reads.

        Does nothing for a data set in memory, of which all was read before;
        otherwise it takes as long as an epoch.

        Raises:
            ValueError: A file is damaged; the message names it.
        """

    def check_split(self, split: str):
        """Raises ValueError unless there is a split of that name."""
        if split not in self.split_names:
            raise ValueError(
                f"`split` must be one of {', '.join(self.split_names)}. "
                f"Received: split={split}"
            )
