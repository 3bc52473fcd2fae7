"""The settings of the data set and its batches."""

import dataclasses

from tfwd.training.config import choices
from tfwd.training.config import fields


@dataclasses.dataclass(frozen=True)
class Data:
    """The data set, its split and its batches."""

    dataset: str = fields.setting(
        "digits", "data set", choices=choices.DATASETS, group="Data"
    )
    data_dir: str | None = fields.setting(
        None, "folder of TFDS data sets, <data_dir>/<dataset>/<version>"
    )
    num_validation: int = fields.setting(
        0, "training examples held out for validation", at_least=0
    )
    train_fraction: float = fields.setting(
        1.0, "fraction of the training examples used", above=0, at_most=1
    )
    augment: bool = fields.setting(
        False, "random crop (zero padding 4) and horizontal flip"
    )
    bptt: int = fields.setting(
        35, "words per step and stream of a text (ptb)", at_least=1
    )
    batch_size: int = fields.setting(
        128,
        "examples per step, summed over all replicas",
        at_least=1,
        group="Training",
    )
    eval_batch_size: int = fields.setting(
        1000, "examples per evaluation step", at_least=1
    )
