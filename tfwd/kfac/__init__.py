"""K-FAC for Keras, on TensorFlow and JAX."""

from tfwd.kfac.optimizer import KFAC
from tfwd.kfac.optimizer import attach

__all__ = ["KFAC", "attach"]


def __dir__():
    return sorted(__all__)
