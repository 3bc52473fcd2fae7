"""What the backend in use lends to derivatives: None where there is nothing.

`current` is the diagnostics' own module, `kfac` that of `tfwd.kfac`.
"""

import typing

import keras

from tfwd.kfac import backend

current: typing.Any
if keras.backend.backend() == "tensorflow":
    from tfwd.diagnostics.backend import tensorflow_derivatives as current
elif keras.backend.backend() == "jax":
    from tfwd.diagnostics.backend import jax_derivatives as current
else:
    current = None
kfac = backend.current

__all__ = ["current", "kfac"]
