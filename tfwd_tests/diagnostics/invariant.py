"""A network that the norm of its first layer does not matter to.

That is before a BatchNormalization with the batch's own mean and variance. Its
ε is far below any variance, so that it breaks no invariance.
"""

import dataclasses

import keras
import numpy as np
from keras import layers

from tfwd_tests.kfac import models


@dataclasses.dataclass(frozen=True)
class Problem:
    """The network, its first kernel, and a batch with labels."""

    model: keras.Model
    kernel: keras.Variable
    x: np.ndarray
    y: np.ndarray

    @property
    def theta(self):
        return keras.ops.convert_to_numpy(self.kernel.value)

    def gradient(self):
        """Returns ∇L in the first kernel, in training mode."""
        found = models.gradients(
            self.model, models.loss_of("softmax"), self.x, self.y
        )
        place = [v is self.kernel for v in self.model.trainable_variables]
        return keras.ops.convert_to_numpy(found[place.index(True)])


def problem(norm=1.0, convolutional=False):
    """Returns the `Problem` whose first kernel has a given norm."""
    if convolutional:
        first = layers.Conv2D(3, 2, use_bias=False, name="first")
        rest, shape = [layers.Flatten()], (3, 3, 2)
    else:
        first = layers.Dense(4, use_bias=False, name="first")
        rest, shape = [], (5,)
    normalization = layers.BatchNormalization(
        epsilon=1e-15, center=False, scale=False
    )
    activation = layers.Activation("tanh")
    last = layers.Dense(3, name="last")
    model = models.built([first, normalization, activation, *rest, last], shape)
    x = models.normal(7, *shape)
    found = Problem(
        model, first.kernel, x, models.targets_of("softmax", (7, 3))
    )
    first.kernel.assign(norm * found.theta / np.linalg.norm(found.theta))
    return found
