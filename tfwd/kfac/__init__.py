"""K-FAC for Keras, on TensorFlow and JAX."""

from tfwd.kfac.compiled_model import attach
from tfwd.kfac.optimizer import KFAC

__all__ = ["KFAC", "attach"]


def __dir__():
    return sorted(__all__)
