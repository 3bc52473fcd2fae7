"""The 8x8 handwritten digits that ship inside scikit-learn."""

import numpy as np
from sklearn import datasets

from tfwd.data import in_memory
from tfwd.data import partition

NUM_TEST = 360


def load() -> in_memory.Splits:
    """Returns the 1797 digits: 1437 for training and 360 for testing.

    Images are float32 `[examples, 8, 8, 1]`, the 17 grey levels divided by
    16. scikit-learn keeps the digits in the order of their writers, hence
    the test set is a fixed random choice.
    """
    digits = datasets.load_digits()
    whole = in_memory.Examples(
        images=(digits.images[..., None] / 16).astype(np.float32),
        labels=digits.target.astype(np.int32),
    )
    test, train = np.split(partition.fixed_permutation(len(whole)), [NUM_TEST])
    return in_memory.Splits(
        name="digits",
        train=whole.take(train),
        validation=None,
        test=whole.take(test),
        num_classes=10,
        image_shape=(8, 8, 1),
        mean=(0.0,),
        std=(1.0,),
    )
