"""What the backend in use lends to derivatives: None where there is nothing.

`current` is the diagnostics' own module, `kfac` that of `tfwd.kfac`.
"""

import typing

import keras

current: typing.Any
kfac: typing.Any
if keras.backend.backend() == "tensorflow":
    from tfwd.diagnostics.backend import tensorflow_derivatives as current
    from tfwd.kfac import tensorflow_backend as kfac
elif keras.backend.backend() == "jax":
    from tfwd.diagnostics.backend import jax_derivatives as current
    from tfwd.kfac import jax_backend as kfac
else:
    current = kfac = None

__all__ = ["current", "kfac"]
