"""ImageNet, from a folder in TensorFlow Datasets' form.

Its order across replicas is our own, as `image_files` says.
"""

import os

from tfwd.data import damage
from tfwd.data import folder as folder_lib
from tfwd.data import image_files
from tfwd.data import partition

NAME = "imagenet2012"
# Over the training images; as in torchvision's reference training.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def load(
    data_dir: str | os.PathLike | None,
    num_validation: int = 0,
    train_fraction: float = 1.0,
    image_size: int = 224,
) -> image_files.Records:
    """Opens `<data_dir>/imagenet2012/<version>`; reads no image.

    TFDS's "validation" is the "test" split here. The first `num_validation`
    training examples (TFDS has shuffled them when it wrote the files) become
    the validation split, and a part of the others is trained on.

    Raises:
        ValueError: `data_dir` does not hold the data set or holds it in
            another format than TFRecord, or a split that is not possible.
    """
    folder = folder_lib.newest(
        NAME, data_dir, splits=("train", "validation"), channels=3
    )
    num_bytes = {
        split: damage.check_files(folder, split)
        for split in ("train", "validation")
    }
    size = folder.splits["train"].num_examples
    kept = partition.num_training(size, num_validation, train_fraction)
    stop = num_validation + kept
    slices = {"train": image_files.Slice("train", num_validation, stop)}
    if num_validation:
        slices["validation"] = image_files.Slice("train", 0, num_validation)
    num_test = folder.splits["validation"].num_examples
    slices["test"] = image_files.Slice("validation", 0, num_test)
    return image_files.Records(
        NAME, folder, num_bytes, slices, image_size, MEAN, STD
    )
