"""The types that public signatures name.

Keras has no type for what its operations take and return on every backend;
`keras.KerasTensor`, its symbolic tensor, is the nearest.
"""

import collections.abc
import typing

import keras

Tensor: typing.TypeAlias = keras.KerasTensor
# What Keras or NumPy makes an array of: variables, tensors, arrays and lists.
ArrayLike: typing.TypeAlias = keras.KerasTensor
# The name of a loss of Keras, one of its classes, or a function.
Loss: typing.TypeAlias = (
    str | keras.losses.Loss | collections.abc.Callable[..., Tensor]
)
# An array, a tuple (x, y) or (x, y, weights), a list of batches or a
# `tf.data.Dataset` of batches, which is known without importing TensorFlow.
Data: typing.TypeAlias = typing.Any
# A number, or one that changes with the step.
Schedule: typing.TypeAlias = (
    float
    | keras.optimizers.schedules.LearningRateSchedule
    | collections.abc.Callable[[], float]
)

Curvature = typing.Literal["fisher", "gauss_newton", "empirical"]
Estimation = typing.Literal["sampled", "exact"]
Mode = typing.Literal["training", "inference"]
DecayMode = typing.Literal[
    "l2", "decoupled", "stable", "independent", "elementwise"
]
DecayScope = typing.Literal["all", "normalized", "final", "none"]
