"""What K-FAC needs of the backend in use: None where there is nothing.

`current` is `tensorflow_backend` or its twin `jax_backend`, with derivatives,
linear algebra, replicas and compilation. `fit` on either is `tensorflow_fit`
or `jax_fit`, and what those share `trainer`.
"""

import typing

import keras

current: typing.Any
if keras.backend.backend() == "tensorflow":
    from tfwd.kfac.backend import tensorflow_backend as current
elif keras.backend.backend() == "jax":
    from tfwd.kfac.backend import jax_backend as current
else:
    current = None

__all__ = ["current"]
